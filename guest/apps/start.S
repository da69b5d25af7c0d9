/* Where threads and exception handlers of an application return to. */
	.cfi_sections .debug_frame
	.text
	.type thread_exit_before, @function
thread_exit_before:
	.cfi_startproc
	.cfi_undefined %eip			/* nobody called */
	nop					/* unwinders look at the byte before a return address */
	.globl thread_exit_return
	.type thread_exit_return, @function
thread_exit_return:
	push %eax
	call service_thread_exit
	.cfi_endproc
	.size thread_exit_return, . - thread_exit_return

	.type exception_before, @function
exception_before:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_escape 0x0f, 5, 0x74, 0, 0x06, 0x23, 56	/* the exception's context ends 56 bytes behind its start */
	.cfi_offset %edi, -40
	.cfi_offset %esi, -36
	.cfi_offset %ebp, -32
	.cfi_offset %esp, -28
	.cfi_offset %ebx, -24
	.cfi_offset %edx, -20
	.cfi_offset %ecx, -16
	.cfi_offset %eax, -12
	.cfi_offset %eip, -8
	nop
	.globl exception_return
	.type exception_return, @function
exception_return:				/* esp: address of the struct exception; eax: what to do */
	push %eax
	call service_exception_resume
	ud2
	.cfi_endproc
	.size exception_return, . - exception_return

/*
 * int guarded(struct guard *guard, void (*function)(void *), void *argument): call the function; what faults in it ends the
 * call. Returns the vector, or -1 where nothing faulted.
 */
	.globl guarded
	.type guarded, @function
guarded:
	push %ebp
	mov %esp, %ebp
	push %ebx
	push %esi
	push %edi
	mov 8(%ebp), %ebx
	mov %esp, 8(%ebx)
	mov %ebp, 12(%ebx)
	push %ebx
	call guard_enter
	push 16(%ebp)
	call *12(%ebp)
	mov $-1, %esi
1:	mov 8(%ebx), %esp
	push %ebx
	call guard_leave
	mov %esi, %eax
	lea -12(%ebp), %esp
	pop %edi
	pop %esi
	pop %ebx
	pop %ebp
	ret
	.globl guard_landing
guard_landing:					/* eax: vector; ebx: the guard; ebp: as it was */
	mov %eax, %esi
	jmp 1b
	.size guarded, . - guarded
/* Sets TF: #DB comes after the nop. */
	.globl single_step_code
	.type single_step_code, @function
single_step_code:
	pushf
	orl $0x100, (%esp)
	popf
	nop
	ret
	.size single_step_code, . - single_step_code
	.section .note.GNU-stack, "", @progbits
