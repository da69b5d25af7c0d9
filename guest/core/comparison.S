/*
 * The two ring transitions that service calls are compared with: an interrupt gate and SYSENTER (paper, 3). Empty services,
 * chosen by EAX. Both are closed but while the benchmark runs, since the paper's minimal path checks nothing.
 */
#include "layout.h"

	.section .core.text, "ax"
	.globl comparison_trap
	.type comparison_trap, @function
comparison_trap:
	call *%cs:comparison_table(, %eax, 4)
	iret
	.size comparison_trap, . - comparison_trap

/*
 * SYSEXIT loads flat segments whatever the descriptors say, so it returns to an OS address that puts that right, and not where
 * the caller wishes. ECX: the caller's ESP.
 */
	.globl sysenter_entry
	.type sysenter_entry, @function
sysenter_entry:
	call *%cs:comparison_table(, %eax, 4)
	mov $sysexit_landing, %edx
	sti
	sysexit
	.size sysenter_entry, . - sysenter_entry

	.type comparison_service, @function
	.set number, 0
	.rept COMPARISON_SERVICES
	.balign 64
	.if number == 0
comparison_service:
	.endif
	ret
	.set number, number + 1
	.endr
	.size comparison_service, . - comparison_service

	.balign 4
comparison_table:
	.set number, 0
	.rept COMPARISON_SERVICES
	.long comparison_service + 64 * number
	.set number, number + 1
	.endr

	.section .data
	.globl core_sysenter_cs
	.balign 4
core_sysenter_cs:	.long 0			/* what IA32_SYSENTER_CS gets at KLOS_REQUEST_SYSENTER */
	.section .note.GNU-stack, "", @progbits
