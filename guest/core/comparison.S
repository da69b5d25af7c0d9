/* The two ring transitions that service calls are compared with: a trap gate and SYSENTER. For the benchmark only. */
#include "layout.h"

	.section .core.text, "ax"
	.globl sysenter_entry
	.type sysenter_entry, @function
sysenter_entry:					/* ecx: where to return; edx: the caller's ESP, both at sysexit's places */
	xchg %ecx, %edx
	sysexit
	.size sysenter_entry, . - sysenter_entry
	.section .note.GNU-stack, "", @progbits
