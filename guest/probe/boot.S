# Multiboot entry, one stub for each vector, and the two ways into a row and the one way out.

	.set MAGIC, 0x1badb002
	.set FLAGS, 3			# page-aligned modules, memory map: asked for, not used
	.set SEL_KERNEL_DATA, 0x10

	.section .multiboot, "a"
	.align 4
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.globl _start
_start:
	cli
	mov $runner_stack_top, %esp
	push $2
	popf
	fninit
	call main
1:	hlt
	jmp 1b

# Stubs are 16 bytes apart, so that the IDT can be filled by arithmetic.
	.macro STUB vector
	.balign 16
	.if \vector == 8 || \vector == 17 || (\vector >= 10 && \vector <= 14)
	.else
	push $0				# the error code that the processor does not push
	.endif
	push $\vector
	jmp trapped
	.endm

	.altmacro
	.balign 16
	.globl stubs
stubs:
	.set i, 0
	.rept 256
	STUB %i
	.set i, i + 1
	.endr
	.noaltmacro

# Builds struct frame. What was interrupted may have had any segments.
trapped:
	pusha
	push %ds
	push %es
	mov $SEL_KERNEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call trap
	add $4, %esp
	test %eax, %eax
	jz leave_row
	pop %es
	pop %ds
	popa
	add $8, %esp
	iret

# void enter_ring3(eip, cs, ss, esp, eflags, ds): returns when the row has ended.
	.globl enter_ring3
enter_ring3:
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, row_caller_esp
	mov %esp, %ebp
	mov 40(%ebp), %eax
	push 28(%ebp)
	push 32(%ebp)
	push 36(%ebp)
	push 24(%ebp)
	push 20(%ebp)
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	iret

# void enter_ring0(eip): the same without leaving ring 0, on a stack of its own.
	.globl enter_ring0
enter_ring0:
	mov 4(%esp), %eax
	push %ebp
	push %ebx
	push %esi
	push %edi
	mov %esp, row_caller_esp
	mov $row_stack_top, %esp
	jmp *%eax

# Gives up whatever the row was doing and returns to its caller.
leave_row:
	mov $SEL_KERNEL_DATA, %eax
	mov %eax, %ss
	mov row_caller_esp, %esp
	mov %eax, %fs
	mov %eax, %gs
	push $2				# NT, TF, AC and IOPL go with the row
	popf
	pop %edi
	pop %esi
	pop %ebx
	pop %ebp
	ret

# void load_tables(gdtr, idtr): also reloads every segment register, whose hidden part may be anything.
	.globl load_tables
load_tables:
	mov 4(%esp), %eax
	lgdt (%eax)
	mov 8(%esp), %eax
	lidt (%eax)
	mov $SEL_KERNEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	mov %eax, %gs
	mov %eax, %ss
	ljmp $0x08, $1f
1:	ret

	.bss
	.balign 16
	.skip 8192
runner_stack_top:
	.globl row_stack_top, ring0_stack_top, user_stack_top
	.skip 4096
row_stack_top:				# of a ring-0 row
	.skip 4096
ring0_stack_top:			# TSS.ESP0
	.skip 4096
user_stack_top:
row_caller_esp:
	.skip 4

	.section .note.GNU-stack, "", @progbits
