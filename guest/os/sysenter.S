/* The ring-3 half of the SYSENTER path, for the benchmark (paper, 3). */
#include "layout.h"

	.text
	.globl service_sysenter, sysexit_landing
	.type service_sysenter, @function
service_sysenter:				/* eax: number of the service */
	mov %esp, %ecx
	sysenter
sysexit_landing:				/* CS and SS are flat now */
	mov $DSAPP, %edx
	mov %edx, %ss
	ljmp $CSOS, $1f
1:	ret
	.size service_sysenter, . - service_sysenter
	.section .note.GNU-stack, "", @progbits
