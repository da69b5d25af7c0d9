/*
 * A guest that goes to virtual 8086 mode, at 0x2000:0, with an I/O bitmap that allows port 0x80.
 *
 *   task       paging is off, CPL 3, in virtual 8086 mode
 */
    .section .text
    .long 0x1badb002, 0, -0x1badb002

    .globl _start
_start:
    cli
    lgdt gdtr
    lidt idtr
    mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $stack_top, %esp
    mov $tss, %eax
    mov %ax, gdt + 0x1a
    shr $16, %eax
    mov %al, gdt + 0x1c
    mov $0x18, %ax
    ltr %ax
    movl $stack_top, tss + 4
    movw $0x10, tss + 8
    movw $(bitmap - tss), tss + 102
    movb $0xfe, bitmap + 0x80 / 8
    movw $0xfeeb, 0x20000
    pushl $0x3000
    pushl $0x3000
    pushl $0x3000
    pushl $0x3000
    pushl $0x3000
    pushl $0x1000
    pushl $0x20002
    pushl $0x2000
    pushl $0
    iret

    .section .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .word bitmap_end - tss - 1, 0
    .byte 0, 0x89, 0, 0
gdtr:
    .word . - gdt - 1
    .long gdt
idtr:
    .word 0x7ff
    .long idt
    .balign 8
idt:
    .fill 256, 8, 0
tss:
    .skip 104
    .fill 32, 1, 0
bitmap:
    .fill 0x41, 1, 0xff
bitmap_end:
    .section .bss
    .balign 16
    .skip 4096
stack_top:
