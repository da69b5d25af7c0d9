/* Loading a segment register: the descriptor's type and DPL are checked before its P bit. */
#include "row.h"

#define LOAD_ES(id, title, selector, ...) \
	ROW(id, title, "movw $" STRING(selector) ",%ax", "movw %ax,%es", RETURN(0x11), \
	    .class = CLASS_LOAD, __VA_ARGS__)
#define LOAD_SS(id, title, selector, ...) \
	ROW(id, title, "movw $" STRING(selector) ",%ax", "movw %ax,%ss", RETURN(0x12), \
	    .class = CLASS_LOAD, __VA_ARGS__)

LOAD_ES(load_es_absent_data, "load ES: data P=0", SEL_TEST,
	.test = SCRATCH_SEGMENT(DPL3 | DATA_RW), .expected = FAULT_CODE(NP, TEST_CODE))
LOAD_ES(load_es_zero_descriptor, "load ES: all-zero descriptor", SEL_TEST,
	.expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_absent_system_type0, "load ES: P=0 S=0 type0 DPL3", SEL_TEST,
	.test = SCRATCH_SEGMENT(DPL3 | SYSTEM_NONE), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_absent_tss, "load ES: P=0 system(TSS) DPL3", SEL_TEST,
	.test = SCRATCH_SEGMENT(DPL3 | SYSTEM_TSS32), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_tss, "load ES: P=1 system(TSS)", SEL_TEST,
	.test = SCRATCH_SEGMENT(PRESENT | DPL3 | SYSTEM_TSS32), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_execute_only, "load ES: execute-only code", SEL_TEST,
	.test = SCRATCH_SEGMENT(PRESENT | DPL3 | CODE_X), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_absent_execute_only, "load ES: execute-only code P=0", SEL_TEST,
	.test = SCRATCH_SEGMENT(DPL3 | CODE_X), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_readable_code, "load ES: readable code", SEL_TEST,
	.test = SCRATCH_SEGMENT(PRESENT | DPL3 | CODE_XR), .expected = VALUE(0x11))
LOAD_ES(load_es_dpl0_data, "load ES: DPL0 data from CPL3", SEL_TEST,
	.test = SCRATCH_SEGMENT(PRESENT | DATA_RW), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_absent_dpl0_data, "load ES: DPL0 data P=0 from CPL3", SEL_TEST,
	.test = SCRATCH_SEGMENT(DATA_RW), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_ES(load_es_beyond_gdt, "load ES: beyond GDT limit", SEL_BEYOND_GDT,
	.expected = FAULT_CODE(GP, SEL_BEYOND_GDT & ~3))
LOAD_ES(load_es_null, "load ES: null", 0, .expected = VALUE(0x11))
LOAD_ES(load_es_null_rpl3, "load ES: null with RPL3", 3, .expected = VALUE(0x11))

ROW(pop_ds_absent_data, "pop DS: data P=0",
    "pushl $" STRING(SEL_TEST), "popl %ds", RETURN(0x13),
    .class = CLASS_LOAD, .test = SCRATCH_SEGMENT(DPL3 | DATA_RW), .expected = FAULT_CODE(NP, TEST_CODE))

LOAD_SS(load_ss_null, "load SS: null", 0, .expected = FAULT_CODE(GP, 0))
LOAD_SS(load_ss_absent, "load SS: P=0", SEL_TEST,
	.test = FLAT_SEGMENT(DPL3 | DATA_RW), .expected = FAULT_CODE(SS, TEST_CODE))
LOAD_SS(load_ss_read_only, "load SS: read-only", SEL_TEST,
	.test = FLAT_SEGMENT(PRESENT | DPL3 | DATA_RO), .expected = FAULT_CODE(GP, TEST_CODE))
LOAD_SS(load_ss_writable, "load SS: ok", SEL_TEST,
	.test = FLAT_SEGMENT(PRESENT | DPL3 | DATA_RW), .expected = VALUE(0x12))

LOAD_ES(load_es_absent_ldt, "load ES: LDT P=0", SEL_LDT_TEST,
	.ldt_test = SCRATCH_SEGMENT(DPL3 | DATA_RW), .expected = FAULT_CODE(NP, SEL_LDT_TEST & ~3))
LOAD_ES(load_es_ldt, "load ES: LDT P=1", SEL_LDT_TEST,
	.ldt_test = SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW), .expected = VALUE(0x11))
LOAD_ES(load_es_beyond_ldt, "load ES: beyond LDT limit", SEL_BEYOND_LDT,
	.expected = FAULT_CODE(GP, SEL_BEYOND_LDT & ~3))
