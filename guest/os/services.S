/*
 * Service calls (paper, 2.4). Design B: a prologue and epilogue for each service, on a page of its own (paper, 3). Design A:
 * one trampoline and a service table. Both load DSOS from an immediate that is rewritten when DSOS moves, switch to the
 * thread's OS stack, and leave DSOS in no register. From `start` to `loaded` nothing is pushed, so a thread that is pre-empted
 * there can be sent back to the start.
 */
#include "layout.h"
#include "klos_abi.h"

#define NO_SERVICE 0xFFFFFFFF

	.cfi_sections .debug_frame

	.macro NAME text
9:	.ascii "\text"
	.org 9b + 24, 0
	.endm

	.macro SITE kind, service, name
	.section .sites, "a"
	.long start_\name + 1, start_\name, loaded_\name, end_\name
	.short \kind, 4
	.long \service
	NAME \name
	.endm

	.macro PROLOGUE name
	.section .prologues, "awx"
	.balign PAGE_SIZE
	.globl service_\name
	.type service_\name, @function
service_\name:
start_\name:
	.cfi_startproc
	.cfi_signal_frame			/* unwinders expect a change of stacks nowhere else */
	.byte 0xB8				/* mov $DSOS, %eax */
	.long 0
	mov %eax, %ds
	mov %eax, %es
	mov %esp, %edx
	mov %eax, %ss
	mov current_os_stack, %esp
loaded_\name:
	.cfi_def_cfa %edx, 4
	xor %eax, %eax
	cld
	cmp $APP_TOP - 32, %edx
	ja service_bad_stack
	push %edx
	.endm

	.macro EPILOGUE name
	add $16, %esp
	pop %edx
	.cfi_def_cfa %edx, 4
	mov $DSAPP, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %ss
	mov %edx, %esp
	.cfi_def_cfa %esp, 4
	ret
end_\name:
	.cfi_endproc
	.size service_\name, . - service_\name
	.endm

/* The caller's ESP lies above the four arguments: CFA = *(esp + 16) + 4. */
	.macro CFI_ON_OS_STACK
	.cfi_escape 0x0f, 5, 0x74, 16, 0x06, 0x23, 4
	.endm

	.macro SERVICE number, name
	PROLOGUE \name
	pushl 16(%edx)
	pushl 12(%edx)
	pushl 8(%edx)
	pushl 4(%edx)
	CFI_ON_OS_STACK
	call do_\name
	EPILOGUE \name
	SITE KLOS_SITE_DESIGN_B, \number, \name
	.section .services, "a"
	.long \number, do_\name, service_\name, end_\name
	NAME \name
	.section .service_table, "a"
	.long do_\name
	.endm

#define SERVICE(number, name) SERVICE number, name
#include "services.def"
#undef SERVICE

/* service_trampoline(number, ...) */
	PROLOGUE trampoline
	mov 4(%edx), %ecx
	pushl 20(%edx)
	pushl 16(%edx)
	pushl 12(%edx)
	pushl 8(%edx)
	CFI_ON_OS_STACK
	mov $do_bad_service, %eax
	cmp $service_count, %ecx
	jae 1f
	mov service_table(, %ecx, 4), %eax
1:	call *%eax
	EPILOGUE trampoline
	SITE KLOS_SITE_DESIGN_A, NO_SERVICE, trampoline

/*
 * int service_bare_copy(to, from, 4): the paper's own prologue and epilogue, on the caller's stack. Its immediate holds DSOS
 * only while the benchmark or the attack that needs it runs (os/dsos.c), and DSAPP otherwise.
 */
	.section .prologues, "awx"
	.balign PAGE_SIZE
	.globl service_bare_copy
	.type service_bare_copy, @function
service_bare_copy:
start_bare_copy:
	.cfi_startproc
	.byte 0xB8
	.long DSAPP
	mov %eax, %ds
loaded_bare_copy:
	call do_bare_copy
	mov $DSAPP, %ecx
	mov %ecx, %ds
	ret
	.cfi_endproc
end_bare_copy:
	.size service_bare_copy, . - service_bare_copy
	SITE KLOS_SITE_BARE, NO_SERVICE, bare_copy

/*
 * Empty services in both of the paper's designs, for the benchmark (paper, 3): bare_0, bare_1, ... on pages that follow each
 * other, and bare_trampoline (ECX: number).
 */
	.macro BARE_SERVICE number
	.section .prologues, "awx"
	.balign PAGE_SIZE
	.type service_bare_\number, @function
service_bare_\number:
start_bare_\number:
	.byte 0xB8
	.long DSAPP
	mov %eax, %ds
loaded_bare_\number:
	call do_bare_null
	mov $DSAPP, %ecx
	mov %ecx, %ds
	ret
end_bare_\number:
	.size service_bare_\number, . - service_bare_\number
	SITE KLOS_SITE_BARE, NO_SERVICE, bare_\number
	.endm

	.globl service_bare_0
	.altmacro
	.set number, 0
	.rept COMPARISON_SERVICES
	BARE_SERVICE %number
	.set number, number + 1
	.endr
	.noaltmacro

	.section .prologues, "awx"
	.balign PAGE_SIZE
	.globl service_bare_trampoline
	.type service_bare_trampoline, @function
service_bare_trampoline:
start_bare_trampoline:
	.byte 0xB8
	.long DSAPP
	mov %eax, %ds
loaded_bare_trampoline:
	call *bare_table(, %ecx, 4)
	mov $DSAPP, %ecx
	mov %ecx, %ds
	ret
end_bare_trampoline:
	.size service_bare_trampoline, . - service_bare_trampoline
	SITE KLOS_SITE_BARE, NO_SERVICE, bare_trampoline

	.section .service_table.bare, "a"
bare_table:
	.rept COMPARISON_SERVICES
	.long do_bare_null
	.endr

	.text
	.type do_bare_null, @function
do_bare_null:
	ret
	.size do_bare_null, . - do_bare_null

	.type do_bare_copy, @function
do_bare_copy:					/* two return addresses, to, from */
	mov 8(%esp), %ecx
	mov 12(%esp), %edx
	mov (%edx), %edx
	mov %edx, (%ecx)
	ret
	.size do_bare_copy, . - do_bare_copy

	.type service_bad_stack, @function
service_bad_stack:				/* on the OS stack, ESP at its top */
	call do_bad_stack
	.size service_bad_stack, . - service_bad_stack
	.section .note.GNU-stack, "", @progbits
