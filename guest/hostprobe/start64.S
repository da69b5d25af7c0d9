# Entry of a 64-bit Linux program, no libc.

	.set SYS_EXIT, 60

	.text
	.globl _start
_start:
	xor %ebp, %ebp
	call main
	mov %eax, %edi
	mov $SYS_EXIT, %eax
	syscall

	.section .note.GNU-stack, "", @progbits
