/*
 * The way back into the event core (paper, 2.1): the call gate that a handler ends with, which stands for the paper's far
 * return, and what happens then: the optional TLB flush, and the end of interrupt.
 *
 * Any application can call the gate, and a call gate clears neither IF, TF nor NT; so the first four instructions do, and
 * a call while no event is being handled becomes a general protection fault of the caller.
 */
#include "layout.h"
#include "klos_abi.h"
#include "frame_cfi.h"
#include "pic.h"

#define IRQ7  (VECTOR_IRQ + 7)
#define IRQ8  (VECTOR_IRQ + 8)
#define IRQ15 (VECTOR_IRQ + 15)
#define IRQ_END (VECTOR_IRQ + 16)

	.cfi_sections .debug_frame
	.section .core.text, "ax"
	.globl return_gate, core_leave, core_flush, core_resume, core_idle, idle_site
	.type return_gate, @function
return_gate:					/* eip, cs, esp, ss of the caller */
	cli
	cld
	push $2
	popf
	cmpl $0, %ss:klos_info + INFO_EVENT_DEPTH
	je gate_out_of_turn
	add $16, %esp
	mov $CORE_DATA, %eax
	mov %eax, %ds
	jmp core_leave
	.size return_gate, . - return_gate

	.type gate_out_of_turn, @function
gate_out_of_turn:				/* vector, error code, eip, cs, eflags, esp, ss from what the gate pushed */
	sub $12, %esp
	push %eax
	mov 16(%esp), %eax
	mov %eax, 12(%esp)
	mov 20(%esp), %eax
	mov %eax, 16(%esp)
	movl $0x202, 20(%esp)
	movl $0, 8(%esp)
	movl $VECTOR_GP, 4(%esp)
	pop %eax
	movl $KLOS_ORIGIN_GATE, %ss:core_origin
	jmp core_save
	.size gate_out_of_turn, . - gate_out_of_turn

	.type core_leave, @function
core_leave:					/* esp: struct klos_frame; ds: core data */
	.cfi_startproc
	.cfi_signal_frame
	CFI_FRAME %esp, 0
	decl klos_info + INFO_EVENT_DEPTH
	mov FRAME_ESP0(%esp), %eax
	mov %eax, TSS_ESP0
	mov FRAME_REQUEST(%esp), %ebx
	test $KLOS_REQUEST_FLUSH, %bl
	jz core_eoi
core_flush:
	mov FRAME_CR3(%esp), %eax
	mov %eax, %cr3
core_eoi:
	mov FRAME_VECTOR(%esp), %ecx
	cmp $VECTOR_IRQ, %ecx
	jb core_act
	cmp $IRQ_END, %ecx
	jae core_act
	cmp $IRQ7, %ecx
	je core_eoi_irq7
	cmp $IRQ15, %ecx
	je core_eoi_irq15
	cmp $IRQ8, %ecx
	jb core_eoi_first
core_eoi_second:
	mov $OCW2_EOI, %al
	out %al, $PIC2_COMMAND
core_eoi_first:
	mov $OCW2_EOI, %al
	out %al, $PIC1_COMMAND
core_act:
	test $(KLOS_REQUEST_SYSENTER | KLOS_REQUEST_CACHES), %bl
	jnz core_for_benchmark
core_end:
	test $KLOS_REQUEST_HALT, %bl
	jnz core_halt
	test $KLOS_REQUEST_IDLE, %bl
	jnz core_idle
	add $24, %esp
	.cfi_adjust_cfa_offset -24
	pop %gs
	.cfi_adjust_cfa_offset -4
	pop %fs
	.cfi_adjust_cfa_offset -4
	pop %es
	.cfi_adjust_cfa_offset -4
	pop %ds
	.cfi_adjust_cfa_offset -4
	popa
	CFI_INTERRUPTED 28
	.cfi_same_value %edx
	.cfi_same_value %ecx
	.cfi_same_value %eax
	add $8, %esp
	.cfi_adjust_cfa_offset -8
core_resume:
	iret
	.cfi_endproc
	.size core_leave, . - core_leave

	.type core_eoi_irq7, @function
core_eoi_irq7:					/* spurious unless the controller has it in service */
	mov $(OCW3 | OCW3_RR | OCW3_RIS), %al
	out %al, $PIC1_COMMAND
	in $PIC1_COMMAND, %al
	test %al, %al
	js core_eoi_first
	jmp core_act
	.size core_eoi_irq7, . - core_eoi_irq7

	.type core_eoi_irq15, @function
core_eoi_irq15:					/* spurious: the first controller saw a real interrupt of the second all the same */
	mov $(OCW3 | OCW3_RR | OCW3_RIS), %al
	out %al, $PIC2_COMMAND
	in $PIC2_COMMAND, %al
	test %al, %al
	js core_eoi_second
	jmp core_eoi_first
	.size core_eoi_irq15, . - core_eoi_irq15

#define IA32_SYSENTER_CS 0x174
	.type core_for_benchmark, @function
core_for_benchmark:
	test $KLOS_REQUEST_CACHES, %bl
	jz 1f
	wbinvd
1:	test $KLOS_REQUEST_SYSENTER, %bl
	jz core_end
	mov $IA32_SYSENTER_CS, %ecx
	xor %edx, %edx
	mov core_sysenter_cs, %eax
	wrmsr
	inc %ecx				/* IA32_SYSENTER_ESP */
	mov $core_stack_top, %eax
	wrmsr
	inc %ecx				/* IA32_SYSENTER_EIP */
	mov $sysenter_entry, %eax
	wrmsr
	jmp core_end
	.size core_for_benchmark, . - core_for_benchmark

	.type core_idle, @function
core_idle:
	mov $core_stack_top, %esp
	sti
	hlt
idle_site:
	jmp core_halt
	.size core_idle, . - core_idle

	.globl core_halt
	.type core_halt, @function
core_halt:
	cli
	hlt
	jmp core_halt
	.size core_halt, . - core_halt
	.section .note.GNU-stack, "", @progbits
