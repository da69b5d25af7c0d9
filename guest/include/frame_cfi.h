/* Where the interrupted context lies, for a debugger's unwinder. Offsets are those of struct klos_frame. */
#ifndef FRAME_CFI_H
#define FRAME_CFI_H

/* On entry: `size` bytes from ESP to the end of the frame; only EIP, EFLAGS and ESP are saved yet. */
.macro CFI_INTERRUPTED size
	.cfi_def_cfa %esp, \size
	.cfi_offset %eip, -20
	.cfi_offset 9, -12
	.cfi_offset %esp, -8
	.cfi_same_value %ebx
	.cfi_same_value %esi
	.cfi_same_value %edi
	.cfi_same_value %ebp
.endm

/* A whole struct klos_frame lies at `register` + `offset`. */
.macro CFI_FRAME register, offset
	.cfi_def_cfa \register, 100 + \offset
	.cfi_offset %edi, -60
	.cfi_offset %esi, -56
	.cfi_offset %ebp, -52
	.cfi_offset %ebx, -44
	.cfi_offset %edx, -40
	.cfi_offset %ecx, -36
	.cfi_offset %eax, -32
	.cfi_offset %eip, -20
	.cfi_offset 9, -12
	.cfi_offset %esp, -8
.endm

#endif
