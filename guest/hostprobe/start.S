# Entry, signal return, and the way into a row and out of it. 32-bit Linux, no libc.

	.set SYS_EXIT, 1
	.set SYS_RT_SIGRETURN, 173

	.text
	.globl _start
_start:
	xor %ebp, %ebp
	and $-16, %esp
	call main
	mov %eax, %ebx
	mov $SYS_EXIT, %eax
	int $0x80

	.globl signal_return
signal_return:
	mov $SYS_RT_SIGRETURN, %eax
	int $0x80

# void enter_row(void): loads what row_eflags, row_stack and row_entry say. The signal handler that catches the
# row's end resumes at row_left with ESP = row_caller_esp and flat segments.
	.globl enter_row, row_left
enter_row:
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, row_caller_esp
	push row_eflags
	popf
	lss row_stack, %esp
	ljmp *row_entry
row_left:
	push $2
	popf
	pop %edi
	pop %esi
	pop %ebx
	pop %ebp
	ret

	.bss
	.globl row_caller_esp
row_caller_esp:
	.skip 4

	.section .note.GNU-stack, "", @progbits
