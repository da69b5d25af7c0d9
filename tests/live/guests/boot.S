/*
 * A boot sector in real mode. It stops at each label, in the order of the text.
 *
 *   real       CS is 0x07c0
 *   loaded     DS is 0x1234
 *   moved      the interrupt vectors are at 0x600, and vector 3 leads to handler
 *   unreal     ES reaches 4 GiB
 */
    .code16
    .globl _start, real, loaded, moved, unreal, handler
_start:
    ljmp $0x7c0, $(real - _start)
real:
    cli
    mov $0x1234, %ax
    mov %ax, %ds
loaded:
    nop
    movw $(handler - _start), %es:0x60c
    movw $0x7c0, %es:0x60e
    lidt %cs:(ivtr - _start)
moved:
    lgdtl %cs:(gdtr - _start)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $8, %bx
    mov %bx, %es
    and $0xfe, %al
    mov %eax, %cr0
unreal:
    jmp unreal
handler:
    iret

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf93000000ffff
gdtr:
    .word 15
    .long gdt
ivtr:
    .word 0x3ff
    .long 0x600
    .org 510
    .word 0xaa55
