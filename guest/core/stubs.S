/*
 * The way out of the event core: from an event to its ring-3 handler (paper, 2.1).
 *
 * IDT -> EventN_Ring0Stub -> core_enter, which saves a struct klos_frame and lets TSS.ESP0 point at it -> core_out, the
 * outward far transfer: a far return, which stands for the paper's far call. A handler runs on DSOS with interrupts off and
 * returns to handler_return (os/handler_return.S).
 */
#include "layout.h"
#include "klos_abi.h"
#include "frame_cfi.h"

	.cfi_sections .debug_frame
	.altmacro

/* Vectors for which the processor pushes an error code. */
#define PUSHES_ERROR_CODE(n) (n == 8 || n == 10 || n == 11 || n == 12 || n == 13 || n == 14 || n == 17 || n == 21)

	.macro STUB n
	.section .stub_table, "a"
	.long Event\n\()_Ring0Stub
	.section .core.text, "ax"
	.balign 16
	.globl Event\n\()_Ring0Stub
	.type Event\n\()_Ring0Stub, @function
Event\n\()_Ring0Stub:
	.cfi_startproc
	.cfi_signal_frame
	.if PUSHES_ERROR_CODE(\n)
	CFI_INTERRUPTED 24
	.else
	CFI_INTERRUPTED 20
	push $0
	.cfi_adjust_cfa_offset 4
	.endif
	push $\n
	.cfi_adjust_cfa_offset 4
	jmp core_enter
	.cfi_endproc
	.size Event\n\()_Ring0Stub, . - Event\n\()_Ring0Stub
	.endm

	.set vector, 0
	.rept 256
	STUB %vector
	.set vector, vector + 1
	.endr
	.noaltmacro

/* From the vector down to TSS.ESP0; DS is the event core's afterwards. */
	.macro SAVE
	pusha
	.cfi_adjust_cfa_offset 32
	rdtsc
	mov %eax, %ss:core_time
	mov %edx, %ss:core_time + 4
	.irp register, %ds, %es, %fs, %gs
	push \register
	.cfi_adjust_cfa_offset 4
	.endr
	mov $CORE_DATA, %eax
	mov %eax, %ds
	.irp register, %dr6, %cr2, %cr3
	mov \register, %eax
	push %eax
	.cfi_adjust_cfa_offset 4
	.endr
	pushl TSS_ESP0
	.cfi_adjust_cfa_offset 4
	.endm

	.section .core.text, "ax"
	.globl core_enter, core_save, core_out
	.type core_enter, @function
core_enter:					/* vector, error code, eip, cs, eflags, esp, ss */
	.cfi_startproc
	.cfi_signal_frame
	CFI_INTERRUPTED 28
	cld
	testb $3, 12(%esp)
	jz core_from_ring0
	cmpl $VECTOR_NMI, (%esp)
	je core_panic
core_save:
	SAVE
	pushl core_origin
	.cfi_adjust_cfa_offset 4
	push $0					/* request */
	CFI_FRAME %esp, 0
	mov %esp, TSS_ESP0
	movl $KLOS_ORIGIN_RING3, core_origin

	mov %esp, %ebx
	mov $handler_stack_top, %ecx
	cmpl $0, klos_info + INFO_EVENT_DEPTH
	je 1f
	mov FRAME_ESP(%ebx), %ecx		/* nested: below the interrupted handler */
1:	incl klos_info + INFO_EVENT_DEPTH
	movl $core_out, -4(%ecx)		/* for a debugger's unwinder */
	mov %ebx, -8(%ecx)
	movl $handler_return, -12(%ecx)
	sub $12, %ecx
	mov %ecx, core_handler_esp
	CFI_FRAME %ebx, 0
	mov FRAME_VECTOR(%ebx), %edx
	mov core_dsos, %eax
	push %eax
	push %ecx
	push $CSOS
	pushl handler_table(, %edx, 4)
	mov %eax, %ds
	mov %eax, %es
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
core_out:
	lret
	.cfi_endproc
	.size core_enter, . - core_enter

/* Events that came at CPL 0, where the processor pushes no SS:ESP. Three places may be interrupted; all else is a panic. */
	.type core_from_ring0, @function
core_from_ring0:				/* vector, error code, eip, cs, eflags */
	cmpl $VECTOR_NMI, (%esp)
	je core_panic
	cmpl $idle_site, 8(%esp)
	je core_from_idle
	cmpl $return_gate, 8(%esp)
	je core_from_gate
	cmpl $sysenter_entry, 8(%esp)
	je core_from_sysenter
	jmp core_panic
	.size core_from_ring0, . - core_from_ring0

	.type core_from_idle, @function
core_from_idle:					/* nothing to come back to: make a frame that says so */
	mov (%esp), %eax
	mov 4(%esp), %ecx
	mov $core_stack_top, %esp
	push $0
	push $0
	push $2
	push $0
	push $idle_site
	push %ecx
	push %eax
	movl $KLOS_ORIGIN_IDLE, core_origin
	jmp core_save
	.size core_from_idle, . - core_from_idle

/*
 * An application called the return gate with TF or IF set. TF: go on without it; the gate finds out. IF: the interrupt
 * has to be served, so its frame is moved over the gate's: eip, cs, eflags below esp and ss of the caller.
 */
	.type core_from_gate, @function
core_from_gate:					/* vector, error code, eip, cs, eflags | eip, cs, esp, ss */
	cmpl $VECTOR_DB, (%esp)
	je core_clear_tf
	push %eax
	mov 20(%esp), %eax
	xchg %eax, 28(%esp)
	xchg %eax, 24(%esp)
	mov %eax, 20(%esp)
	mov 8(%esp), %eax
	mov %eax, 16(%esp)
	mov 4(%esp), %eax
	mov %eax, 12(%esp)
	pop %eax
	add $8, %esp
	movl $KLOS_ORIGIN_GATE, %ss:core_origin
	jmp core_save
	.size core_from_gate, . - core_from_gate

	.type core_from_sysenter, @function
core_from_sysenter:				/* TF survives SYSENTER */
	cmpl $VECTOR_DB, (%esp)
	jne core_panic
core_clear_tf:
	andl $~0x100, 16(%esp)
	add $8, %esp
	iret
	.size core_from_sysenter, . - core_from_sysenter

	.type core_panic, @function
core_panic:					/* make a frame and give it to the ring-0 recorder, which does not return */
	.cfi_startproc
	.cfi_signal_frame
	CFI_INTERRUPTED 28
	SAVE
	mov %ds, %eax
	mov %eax, %es
	push $0
	push $0
	push %esp
	call core_record_panic
	.cfi_endproc
	.size core_panic, . - core_panic

	.globl double_fault_entry
	.type double_fault_entry, @function
double_fault_entry:				/* the processor arrives here by a task switch: registers are in the main TSS */
	call core_record_double_fault
	.size double_fault_entry, . - double_fault_entry

	.section .data
	.balign 64
	.globl core_dsos, core_origin, core_time, core_handler_esp
core_dsos:	.long 0				/* DSOS: rewritten at each relocation */
core_origin:	.long 0
core_time:	.quad 0				/* TSC at the stub of the newest event */
core_handler_esp:	.long 0			/* where its handler's stack begins */
	.section .bss.pages, "aw", @nobits
	.balign 4096
	.globl core_stack_bottom, core_stack_top, fault_stack_top, handler_stack_bottom, handler_stack_top
core_stack_bottom:
	.skip 8192
core_stack_top:
	.skip 4096
fault_stack_top:
handler_stack_bottom:
	.skip 16384
handler_stack_top:
	.section .note.GNU-stack, "", @progbits
