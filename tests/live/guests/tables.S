/*
 * A guest whose table registers point where a debugger has to take care. It stops at each label,
 * in the order of the text, and loads no selector from a broken table.
 *
 *   whole      GDT of 64 KiB that ends at the last mapped byte, IDT at limit 0
 *   cut        GDT limit 0x0c: the second entry is cut
 *   none       GDT limit 0, base 0
 *   unmapped   GDT and IDT in a page that is not mapped
 *   half       GDT of 64 KiB of which only the first page is mapped
 */
    .section .text
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, whole, cut, none, unmapped, half
_start:
    cli
    lgdt first
    movl $0x83, page_directory
    mov $page_directory, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    lgdt large
    lidt tiny
whole:
    nop
    lgdt short
cut:
    nop
    lgdt zero
none:
    nop
    lgdt far
    lidt far
unmapped:
    nop
    lgdt edge
half:
    nop
    jmp half

    .section .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
first:
    .word 23
    .long gdt
large:
    .word 0xffff
    .long 0x3f0000
tiny:
    .word 0
    .long gdt
short:
    .word 0x0c
    .long gdt
zero:
    .word 0
    .long 0
far:
    .word 0xffff
    .long 0x800000
edge:
    .word 0xffff
    .long 0x3ff000

    .section .bss
    .balign 4096
page_directory:
    .skip 4096
