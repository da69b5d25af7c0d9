/*
 * A guest whose events are tasks. Each counts and goes back; it goes on behind its iret the next
 * time, and never comes to where it began.
 *
 *   0x20  a task of 32 bits, which takes 0x21 while it is at it
 *   0x21  a task of 16 bits whose code and stack have a base; 0x22 leads there too, with an RPL
 *   13    another one of 16 bits: it takes its error code and skips the instruction at bad
 */
#define MAIN_CODE 0x08
#define MAIN_DATA 0x10
#define MAIN_TSS 0x18
#define TASK_TSS 0x20
#define SMALL_TSS 0x28
#define SMALL_CODE 0x30
#define SMALL_DATA 0x38
#define FAULT_TSS 0x40
#define TASK_GATE 0x0000850000000000
#define BAD_SELECTOR 0x1230

    .macro set_base tss, selector
    mov $\tss, %eax
    mov %ax, gdt + \selector + 2
    shr $16, %eax
    mov %al, gdt + \selector + 4
    .endm

    .section .text
begin:
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, loop, bad, task, task_in, small, fault, task_count, small_count
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
    mov $stack, %esp
    set_base main_tss, MAIN_TSS
    set_base task_tss, TASK_TSS
    set_base small_tss, SMALL_TSS
    set_base fault_tss, FAULT_TSS
    mov $MAIN_TSS, %ax
    ltr %ax
loop:
    int $0x20
    int $0x22
    mov $BAD_SELECTOR, %eax
bad:
    mov %eax, %fs
    jmp loop

task:
    incl task_count
    int $0x21
task_in:
    iret
    incl task_count
    int $0x21
    jmp task_in

    .code16
small:
    incw small_count - begin
small_in:
    iret
    incw small_count - begin
    jmp small_in
fault:
    pop %ax
    addw $2, main_tss + 32 - begin
fault_in:
    iret
    pop %ax
    addw $2, main_tss + 32 - begin
    jmp fault_in
    .code32

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x0000890000000067
    .quad 0x0000890000000067
    .quad 0x000081000000002b
    .quad 0x00009b100000ffff
    .quad 0x000093100000ffff
    .quad 0x000081000000002b
gdtr:
    .word gdtr - gdt - 1
    .long gdt
idt:
    .fill 13, 8, 0
    .quad FAULT_TSS << 16 | TASK_GATE
    .fill 18, 8, 0
    .quad TASK_TSS << 16 | TASK_GATE
    .quad SMALL_TSS << 16 | TASK_GATE
    .quad (SMALL_TSS | 3) << 16 | TASK_GATE
idtr:
    .word idtr - idt - 1
    .long idt
    .balign 16
main_tss:
    .fill 26, 4, 0
task_tss:
    .fill 8, 4, 0
    .long task, 2, 0, 0, 0, 0, stack - 256, 0, 0, 0
    .long MAIN_DATA, MAIN_CODE, MAIN_DATA, MAIN_DATA, MAIN_DATA, MAIN_DATA, 0, 0x680000
small_tss:
    .fill 7, 2, 0
    .word small - begin, 2, 0, 0, 0, 0, stack - begin - 512, 0, 0, 0
    .word SMALL_DATA, SMALL_CODE, SMALL_DATA, SMALL_DATA, 0
fault_tss:
    .fill 7, 2, 0
    .word fault - begin, 2, 0, 0, 0, 0, stack - begin - 768, 0, 0, 0
    .word SMALL_DATA, SMALL_CODE, SMALL_DATA, SMALL_DATA, 0
task_count:
    .long 0
small_count:
    .long 0
    .skip 1024
stack:
