/* Where every ring-3 event handler returns to: the inward half of the far-call pair (paper, 2.1). */
#include "layout.h"

	.cfi_sections .debug_frame
	.text
	.type handler_return_before, @function
handler_return_before:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa %ebx, 0
	.cfi_val_offset %esp, 0
	.cfi_escape 0x10, 8, 2, 0x74, 4		/* eip is saved at breg4 + 4 */
	nop					/* unwinders look at the byte before a return address */
	.globl handler_return
	.type handler_return, @function
handler_return:					/* esp: address of the struct klos_frame, core_out; ebx: the frame */
	lcall $GATE_SELECTOR, $0
	.cfi_endproc
	.size handler_return, . - handler_return
	.section .note.GNU-stack, "", @progbits
