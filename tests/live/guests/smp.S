/*
 * A guest of two processors, each in a loop of its own: flat segments, no paging. Write 1 or
 * 2 to `mode` and the second one waits (`hlt`); with 1 the first one sends it an interrupt each
 * round.
 *
 *   first    the loop of processor 0, counts in `firsts`
 *   second   that of processor 1, counts in `seconds`
 *   called   what processor 1 does for the other one, counts in `calls`
 */
    .set CODE, 0x08
    .set DATA, 0x10
    .set START, 0x8000                  /* where processor 1 starts, in real mode */
    .set APIC, 0xfee00000
    .set VECTOR, 0x40

    .section .text
image:
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, first, first_end, second, second_end, waiting, called
    .globl firsts, seconds, calls, mode
_start:
    cli
    lgdt gdtr
    ljmp $CODE, $flat
flat:
    mov $DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $first_stack, %esp
    mov $start, %esi
    mov $START, %edi
    mov $(start_end - start), %ecx
    rep movsb
    movl $0x1ff, APIC + 0xf0            /* the local APIC is on */
    movl $(1 << 24), APIC + 0x310       /* to processor 1: */
    movl $0x4500, APIC + 0x300          /* INIT, */
    movl $(1 << 24), APIC + 0x310
    movl $(0x4600 | START >> 12), APIC + 0x300      /* and start-up */
    jmp first

first:
    incl firsts
    nop
first_end:
    cmpl $1, mode
    jne first
    movl $(1 << 24), APIC + 0x310
    movl $(0x4000 | VECTOR), APIC + 0x300
    jmp first

    .code16
start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl START + (near_gdtr - start)
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $CODE, $protected
near_gdtr:
    .word gdt_end - gdt - 1
    .long gdt
start_end:

    .code32
protected:
    mov $DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $second_stack, %esp
    movl $0x1ff, APIC + 0xf0
    lidt idtr
    sti
second:
    incl seconds
    nop
second_end:
    cmpl $0, mode
    je second
waiting:
    hlt
    jmp second

called:
    incl calls
    movl $0, APIC + 0xb0
    iret

    .section .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
gdt_end:
gdtr:
    .word gdt_end - gdt - 1
    .long gdt
idtr:
    .word idt_end - idt - 1
    .long idt
    .balign 8
idt:
    .fill VECTOR, 8, 0
    .word called - image, CODE, 0x8e00, 0x10
idt_end:
firsts:
    .long 0
seconds:
    .long 0
calls:
    .long 0
mode:
    .long 0

    .section .bss
    .balign 4096
    .skip 4096
first_stack:
    .skip 4096
second_stack:
