/* Privileged instructions at CPL 3, IOPL 0. What passes although it should not changes nothing, or what is rebuilt. */
#include "row.h"

#define DENIED(id, title, before, instruction) \
	ROW(id, title, before, instruction, RETURN(0), .class = CLASS_PRIVILEGED, .expected = FAULT_CODE(GP, 0))

DENIED(cli_iopl0, "cli IOPL0", NOTHING, "cli")
DENIED(sti_iopl0, "sti IOPL0", NOTHING, "sti")
DENIED(hlt, "hlt", NOTHING, "hlt")
DENIED(clts, "clts", NOTHING, "clts")
DENIED(lmsw, "lmsw", "smsw %eax", "lmsw %ax")
DENIED(lgdt, "lgdt", NOTHING, "lgdt harmless_gdtr")
DENIED(lidt, "lidt", "sidt scratch", "lidt scratch")
DENIED(lldt, "lldt", "sldt %eax", "lldt %ax")
DENIED(ltr, "ltr", "str %eax", "ltr %ax")
DENIED(mov_cr0, "mov cr0", NOTHING, "movl %cr0,%eax")
DENIED(write_cr0, "mov to cr0", "smsw %eax", "movl %eax,%cr0")
DENIED(mov_dr7, "mov dr7", NOTHING, "movl %db7,%eax")
DENIED(write_dr7, "mov to dr7", "movl $0x400,%eax", "movl %eax,%db7")
DENIED(rdmsr, "rdmsr", "movl $0x174,%ecx", "rdmsr")
DENIED(wrmsr, "wrmsr", "movl $0x174,%ecx\n xorl %eax,%eax\n xorl %edx,%edx", "wrmsr")
DENIED(invlpg, "invlpg", NOTHING, "invlpg scratch")
DENIED(invd, "invd", NOTHING, "invd")
DENIED(wbinvd, "wbinvd", NOTHING, "wbinvd")

ROW(rdtsc, "rdtsc", NOTHING, "rdtsc", RETURN(7),
    .class = CLASS_PRIVILEGED, .expected = VALUE(7))
