# Code for the fetch rows. It runs in the test segment, whose base is fetch_area and whose limit ends with the
# page, except for what lies at FETCH_TARGET. offset_<row> is where a row begins in that segment.

#include "row_end.h"

	.macro ROW name
	.globl offset_\name
	.set offset_\name, . - fetch_area
	.endm

	.macro TESTED name
	.globl row_\name
row_\name:
	.endm

	.section .text.fetch, "ax"
	.balign 4096
	.globl fetch_area
fetch_area:

	ROW near_jmp_past_limit
	TESTED near_jmp_past_limit
	jmp target

	ROW indirect_jmp_past_limit
	movl $(target - fetch_area), %ebx
	TESTED indirect_jmp_past_limit
	jmp *%ebx

	ROW ret_past_limit
	pushl $(target - fetch_area)
	TESTED ret_past_limit
	ret

	ROW call_past_limit
	TESTED call_past_limit
	call target

	ROW cs_base_nonzero
	TESTED cs_base_nonzero
	jmp target

	ROW fetch_over_limit
	.org 0x1000, 0x90
	TESTED fetch_over_limit		# the first byte beyond the limit
	.org FETCH_TARGET, 0x90
target:
	movl $0x99, %eax
	ROW_END_CODE

	.section .note.GNU-stack, "", @progbits
