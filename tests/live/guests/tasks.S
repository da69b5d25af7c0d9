/*
 * A guest whose tasks hardware switches: each yields by int 0x40, whose handler jumps to the next.
 *
 *   0x18  main      ring 0, no LDT
 *   0x20  user      ring 3; its LDT's code and data have the base 0x100000
 *   0x28  far away  ring 0; its base 0x40000000 is mapped by its own page directory alone,
 *                   and it calls the task 0x38 each time round
 *   0x30  small     a TSS of 16 bits, which holds no EIP of the handler: it jumps to main itself;
 *                   the same selectors as the last one's have another base
 *   0x38  callee    no LDT; goes back by its iret
 *   0x40  a TSS that is too short, and nobody switches to
 */
#define MAIN_CODE 0x08
#define MAIN_DATA 0x10
#define MAIN_TSS 0x18
#define USER_TSS 0x20
#define FAR_TSS 0x28
#define SMALL_TSS 0x30
#define CALLEE_TSS 0x38
#define SHORT_TSS 0x40
#define USER_LDT 0x48
#define FAR_LDT 0x50
#define SMALL_LDT 0x58
#define LDT_CODE 0x0c
#define LDT_DATA 0x14
#define FAR 0x40000000
#define BIG_PAGE 0x87

    .macro set_base where, selector
    mov $\where, %eax
    mov %ax, gdt + \selector + 2
    shr $16, %eax
    mov %al, gdt + \selector + 4
    .endm

    .section .text
begin:
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, main, main_on, user, user_on, far, far_called, far_on, small, small_on
    .globl callee, callee_on, yield, yield_jump, yield_on, rounds, user_count
_start:
    cli
    lgdt gdtr
    lidt idtr
    ljmp $MAIN_CODE, $1f
1:
    mov $MAIN_DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $main_stack, %esp
    set_base main_tss, MAIN_TSS
    set_base user_tss, USER_TSS
    set_base far_tss, FAR_TSS
    set_base small_tss, SMALL_TSS
    set_base callee_tss, CALLEE_TSS
    set_base user_ldt, USER_LDT
    set_base far_ldt, FAR_LDT
    set_base small_ldt, SMALL_LDT
    mov $yield, %eax
    mov %ax, idt + 0x40 * 8
    shr $16, %eax
    mov %ax, idt + 0x40 * 8 + 6
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    mov $directory, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    mov $MAIN_TSS, %ax
    ltr %ax
main:
    int $0x40
main_on:
    jmp main

user:
    incl user_count - begin
    int $0x40
user_on:
    jmp user

far:
    lcall $CALLEE_TSS, $0
far_called:
    int $0x40
far_on:
    jmp far

callee:
    iret
callee_on:
    jmp callee

    .code16
small:
    incw rounds - begin
    ljmp $MAIN_TSS, $0
small_on:
    jmp small
    .code32

yield:
    push %ds
    push %eax
    mov $MAIN_DATA, %ax
    mov %ax, %ds
    str %ax
    add $8, %ax
    mov %ax, next + 4
yield_jump:
    ljmp *next
yield_on:
    pop %eax
    pop %ds
    iret

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x0000890000000067
    .quad 0x0000890000000067
    .quad 0x0000890000000067
    .quad 0x000081000000002b
    .quad 0x0000890000000067
    .quad 0x0000890000000020
    .quad 0x0000820000000017
    .quad 0x0000820000000017
    .quad 0x0000820000000017
gdtr:
    .word gdtr - gdt - 1
    .long gdt
user_ldt:
    .quad 0, 0x00cffb100000ffff, 0x00cff3100000ffff
far_ldt:
    .quad 0, 0x40cf9b000000ffff, 0x40cf93000000ffff
small_ldt:
    .quad 0, 0x00009b100000ffff, 0x000093100000ffff
idt:
    .fill 0x40, 8, 0
    .quad 0x0000ee0000080000
idtr:
    .word idtr - idt - 1
    .long idt
next:
    .long 0, 0
rounds:
    .long 0
user_count:
    .long 0
    .balign 16
main_tss:
    .fill 7, 4, 0
    .long directory
    .fill 18, 4, 0
user_tss:
    .long 0, user_stack, MAIN_DATA, 0, 0, 0, 0, directory
    .long user - begin, 0x2, 0x11, 0x12, 0x13, 0x14, user_stack - begin - 256, 0x15, 0x16, 0x17
    .long LDT_DATA | 3, LDT_CODE | 3, LDT_DATA | 3, LDT_DATA | 3, 0, 0, USER_LDT, 0x680000
far_tss:
    .fill 7, 4, 0
    .long far_directory
    .long far, 0x2, 0x21, 0x22, 0x23, 0x24, far_stack, 0x25, 0x26, 0x27
    .long LDT_DATA, LDT_CODE, LDT_DATA, LDT_DATA, LDT_DATA, LDT_DATA, FAR_LDT, 0x680000
small_tss:
    .fill 7, 2, 0
    .word small - begin, 0x2, 0x31, 0x32, 0x33, 0x34, small_stack - begin, 0x35, 0x36, 0x37
    .word LDT_DATA, LDT_CODE, LDT_DATA, LDT_DATA, SMALL_LDT
    .balign 16
callee_tss:
    .fill 7, 4, 0
    .long directory
    .long callee, 0x2, 0x41, 0x42, 0x43, 0x44, callee_stack, 0x45, 0x46, 0x47
    .long MAIN_DATA, MAIN_CODE, MAIN_DATA, MAIN_DATA, MAIN_DATA, MAIN_DATA, 0, 0x680000
    .skip 256
main_stack:
    .skip 512
user_stack:
    .skip 256
far_stack:
    .skip 256
small_stack:
    .skip 256
callee_stack:
    .balign 4096
directory:
    .long BIG_PAGE
    .fill 1023, 4, 0
far_directory:
    .long BIG_PAGE
    .fill 255, 4, 0
    .long BIG_PAGE
    .fill 767, 4, 0
