/* Segment loads that show in the tables, or need them changed. */
#include "machine.h"

static void unload_ldt(void)
{
	load_ldt(0);
}

ROW(load_es_ldtr_null, "load ES: LDTR null",
    "movw $" STRING(SEL_LDT_TEST) ",%ax", "movw %ax,%es", RETURN(0x11),
    .class = CLASS_LOAD, .ldt_test = SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW), .setup = unload_ldt,
    .expected = FAULT_CODE(GP, SEL_LDT_TEST & ~3))

ROW(load_es_accessed_clear, "load ES: accessed bit clear",
    "movw $" STRING(SEL_TEST) ",%ax", "movw %ax,%es", RETURN(0x11),
    .class = CLASS_LOAD, .test = SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW), .expected = VALUE(0x11))

ROW(load_es_sets_accessed, "load ES sets the accessed bit in the GDT",
    "movw $" STRING(SEL_TEST) ",%ax", "movw %ax,%es", "movzbl gdt+8*8+5,%eax",
    .class = CLASS_LOAD, .test = SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW),
    .expected = VALUE(PRESENT | DPL3 | DATA_RW | ACCESSED))
