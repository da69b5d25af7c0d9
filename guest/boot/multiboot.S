/* Multiboot entry: physical addresses, no paging. Maps the first 16 MiB at 0 and at OS_BASE and goes on in C. */
#include "layout.h"

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0x3 /* page-aligned modules, memory size */
#define BOOT_MAP_SIZE   0x1000000
#define LARGE_PAGE      0x83 /* present, writable, 4 MiB */
#define CR4_PSE         0x10
#define CR0_PG_WP       0x80010000

	.section .multiboot, "a"
	.balign 4
	.long MULTIBOOT_MAGIC
	.long MULTIBOOT_FLAGS
	.long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.section .boot, "awx"
	.globl _start
_start:
	cli
	cld
	mov %ebx, %esi				/* multiboot information */
	mov $LARGE_PAGE, %eax
	mov $boot_directory, %edi
1:	mov %eax, (%edi)
	mov %eax, (OS_BASE >> 22) * 4(%edi)
	add $4, %edi
	add $0x400000, %eax
	cmp $BOOT_MAP_SIZE, %eax
	jb 1b

	mov %cr4, %eax
	or $CR4_PSE, %eax
	mov %eax, %cr4
	mov $boot_directory, %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $CR0_PG_WP, %eax
	mov %eax, %cr0
	mov $core_stack_top, %esp
	push %esi
	mov $boot_main, %eax
	call *%eax
2:	hlt
	jmp 2b

	.balign 4096
boot_directory:
	.skip 4096
	.section .note.GNU-stack, "", @progbits
