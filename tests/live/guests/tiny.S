/*
 * A guest just large enough to exercise a debugger: a multiboot entry, a code segment whose base is
 * not zero, paging (the first 4 MiB, one page), a timer interrupt, and ways to halt and to triple
 * fault, chosen by writing 1 or 2 to `mode`.
 *
 *   _start   flat segments, paging, a letter to port 0xe9, and the jump to offsets from CODE_BASE
 *   loop     counts in `counter`
 *   tick     the timer's handler, counts in `ticks`
 */
    .set CODE_BASE, 0x100000            /* where .text is linked */
    .set CODE, 0x08
    .set DATA, 0x10

    .section .text
image:
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, counter, ticks, mode
_start:
    cli
    lgdt gdtr
    lidt idtr
    mov $DATA, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $stack_top, %esp
    movl $0x83, page_directory
    mov $page_directory, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    movb $'K', %al
    outb %al, $0xe9
    ljmp $CODE, $(based - image)

    .globl based, loop, loop_end, halted, faulting, tick
based:
    call program_timer
    sti
loop:
    incl counter
    nop
loop_end:
    cmpl $1, mode
    je halted
    cmpl $2, mode
    je faulting
    jmp loop
halted:
    hlt
    jmp loop
faulting:
    lidt empty_idtr
    int3
    jmp loop

tick:
    incl ticks
    push %eax
    movb $0x20, %al
    outb %al, $0x20
    pop %eax
    iret

program_timer:
    movb $0x11, %al
    outb %al, $0x20
    movb $0x20, %al
    outb %al, $0x21
    movb $0x04, %al
    outb %al, $0x21
    movb $0x01, %al
    outb %al, $0x21
    movb $0xfe, %al
    outb %al, $0x21
    movb $0x34, %al
    outb %al, $0x43
    movb $0xa9, %al
    outb %al, $0x40
    movb $0x04, %al
    outb %al, $0x40
    ret

    .section .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b100000ffff
    .quad 0x00cf93000000ffff
gdtr:
    .word . - gdt - 1
    .long gdt
idtr:
    .word idt_end - idt - 1
    .long idt
empty_idtr:
    .word 0
    .long 0
    .balign 8
idt:
    .fill 0x20, 8, 0
    .word tick - image, CODE, 0x8e00, 0
idt_end:
counter:
    .long 0
ticks:
    .long 0
mode:
    .long 0

    .section .bss
    .balign 4096
page_directory:
    .skip 4096
    .skip 4096
stack_top:
