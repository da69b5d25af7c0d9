/* Privileged instructions at CPL 3, IOPL 0. */
#include "row.h"

#define DENIED(id, title, before, instruction) \
	ROW(id, title, before, instruction, RETURN(0), .class = CLASS_PRIVILEGED, .expected = FAULT_CODE(GP, 0))

DENIED(cli_iopl0, "cli IOPL0", NOTHING, "cli")
DENIED(hlt, "hlt", NOTHING, "hlt")
DENIED(lgdt, "lgdt", NOTHING, "lgdt harmless_gdtr")
DENIED(mov_cr0, "mov cr0", NOTHING, "movl %cr0,%eax")
DENIED(mov_dr7, "mov dr7", NOTHING, "movl %db7,%eax")
DENIED(rdmsr, "rdmsr", "movl $0x174,%ecx", "rdmsr")

ROW(rdtsc, "rdtsc", NOTHING, "rdtsc", RETURN(7),
    .class = CLASS_PRIVILEGED, .expected = VALUE(7))
