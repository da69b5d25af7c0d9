/* Interrupt gates that are absent, or whose code segment is. */
#include "machine.h"

static void absent_gate(void)
{
	idt[VECTOR_GATE_ABSENT].gate.access = DPL3 | GATE_INT32;
}

static void gate_to_test_segment(void)
{
	idt[VECTOR_GATE_TEST].gate.access |= DPL3;
	idt[VECTOR_GATE_TEST].gate.selector = SEL_TEST & ~3;
}

ROW(int_gate_absent, "int n, gate DPL3 P=0", NOTHING, "int $" STRING(VECTOR_GATE_ABSENT), NOTHING,
    .class = CLASS_INTERRUPT, .setup = absent_gate, .expected = FAULT_CODE(NP, VECTOR_GATE_ABSENT << 3 | 2))

/* From the second descriptor on, the error code names it and no longer the gate. */
ROW(int_target_cs_absent, "int n, target CS P=0", NOTHING, "int $" STRING(VECTOR_GATE_TEST), NOTHING,
    .class = CLASS_INTERRUPT, .test = FLAT_SEGMENT(CODE_XR), .setup = gate_to_test_segment,
    .expected = FAULT_CODE(NP, SEL_TEST & ~3))
