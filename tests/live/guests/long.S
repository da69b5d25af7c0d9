/*
 * A guest in IA-32e mode. It passes these labels in their order:
 *
 *   start64   64-bit code, at the addresses where it is linked
 *   high      the same code, mapped a second time at HIGH: addresses of 64 bits
 *   compat    compatibility mode: 32-bit code under the tables of IA-32e mode
 *
 * All tables have 64-bit forms: TSS, LDT and call gate of 16 bytes each in the GDT, IDT gates of 16.
 */
    .set HIGH, 0xffff800000000000
    .set CODE32, 0x08
    .set DATA, 0x10
    .set CODE64, 0x18
    .set TSS, 0x20
    .set LDT, 0x30
    .set GATE, 0x40

    .section .text
    .code32
image:                                  /* linked at 0x100000 */
    .long 0x1badb002, 0, -0x1badb002

    .globl _start, start64, high, compat, handler, breakpoint, tss, ldt
_start:
    cli
    mov %cr4, %eax
    or $0x20, %eax
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax
    wrmsr
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    lgdt gdtr
    ljmp $CODE64, $start64

    .code64
start64:
    mov $DATA, %eax
    mov %eax, %ds
    mov %eax, %ss
    mov $stack_top, %rsp
    lidt idtr
    mov $LDT, %eax
    lldt %ax
    mov $TSS, %eax
    ltr %ax
    movabs $0x123456789abcdef0, %r15
    movabs $HIGH + high, %rax
    jmp *%rax
high:
    call handler
    movabs $back, %rax
    jmp *%rax
back:
    push $CODE32
    push $compat
    lretq
    .code32
compat:
    nop
    jmp compat

    .code64
handler:
    nop
    ret
breakpoint:
    iretq

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
    .word 0x67, tss - image
    .byte 0x10, 0x89, 0, 0
    .quad 0
    .word 15, ldt - image
    .byte 0x10, 0x82, 0, 0
    .quad 0
    .word handler - image, CODE64, 0xec00, 0x10
    .long 0xffff8000, 0
gdtr:
    .word . - gdt - 1
    .quad gdt
ldt:
    .quad 0
    .quad 0x00affb000000ffff
idt:
    .fill 6, 8, 0
    .word breakpoint - image, CODE64, 0xef01, 0x10
    .long 0, 0
idtr:
    .word . - idt - 1
    .quad idt
tss:
    .long 0
    .quad stack_top, 0, 0, 0
    .quad HIGH + stack_top
    .fill 6, 8, 0
    .quad 0
    .word 0, 0x68

    .balign 4096
pml4:
    .quad pdpt + 3
    .fill 255, 8, 0
    .quad pdpt + 3
    .fill 255, 8, 0
pdpt:
    .quad directory + 3
    .fill 511, 8, 0
directory:
    .quad 0x83
    .fill 511, 8, 0
    .skip 4096
stack_top:
