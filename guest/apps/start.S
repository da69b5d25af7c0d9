/* Where threads and exception handlers of an application return to. */
	.text
	.globl thread_exit_return
	.type thread_exit_return, @function
thread_exit_return:
	push %eax
	call service_thread_exit
	.size thread_exit_return, . - thread_exit_return

	.globl exception_return
	.type exception_return, @function
exception_return:				/* esp: address of the struct exception; eax: what to do */
	push %eax
	call service_exception_resume
	ud2
	.size exception_return, . - exception_return
	.section .note.GNU-stack, "", @progbits
