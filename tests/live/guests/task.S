/*
 * A guest whose interrupts are tasks: 0x20 a task of 32 bits, 0x21 one of 16 bits whose code and
 * stack have a base. Each counts and goes back; it goes on behind its iret the next time.
 */
#define MAIN_CODE 0x08
#define MAIN_DATA 0x10
#define MAIN_TSS 0x18
#define TASK_TSS 0x20
#define SMALL_TSS 0x28
#define SMALL_CODE 0x30
#define SMALL_DATA 0x38

    .section .text
begin:
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, loop, task, small, task_count, small_count
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
    mov $main_tss, %eax
    mov %ax, gdt + MAIN_TSS + 2
    shr $16, %eax
    mov %al, gdt + MAIN_TSS + 4
    mov $task_tss, %eax
    mov %ax, gdt + TASK_TSS + 2
    shr $16, %eax
    mov %al, gdt + TASK_TSS + 4
    mov $small_tss, %eax
    mov %ax, gdt + SMALL_TSS + 2
    shr $16, %eax
    mov %al, gdt + SMALL_TSS + 4
    mov $MAIN_TSS, %ax
    ltr %ax
loop:
    int $0x20
    int $0x21
    jmp loop

task:
    incl task_count
    iret
    jmp task

    .code16
small:
    incw small_count - begin
    iret
    jmp small
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
gdtr:
    .word gdtr - gdt - 1
    .long gdt
idt:
    .fill 0x20, 8, 0
    .quad TASK_TSS << 16 | 0x0000850000000000
    .quad SMALL_TSS << 16 | 0x0000850000000000
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
task_count:
    .long 0
small_count:
    .long 0
    .skip 1024
stack:
