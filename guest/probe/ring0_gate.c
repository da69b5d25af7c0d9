/* Call gates. The gate is at SEL_GATE; the offset of the far pointer that names it is ignored. */
#include "machine.h"

/* Two parameters lie above the return address; the last one pushed is the lower. */
void gate_target(void), gate_target_returning(void);
__asm__(".text\ngate_target: movl 8(%esp),%eax\n" ROW_END
	"gate_target_returning: lret $8");

static void set_gate(void (*target)(void), uint16_t selector, uint8_t access, uint8_t params)
{
	gdt[SLOT_GATE] = encode_gate(target, selector, access | GATE_CALL32, params);
}

static void gate_with_params(void)
{
	set_gate(gate_target, SEL_KERNEL_CODE, PRESENT | DPL3, 2);
}

static void gate_that_returns(void)
{
	set_gate(gate_target_returning, SEL_KERNEL_CODE, PRESENT | DPL3, 2);
}

static void gate_dpl0(void)
{
	set_gate(gate_target, SEL_KERNEL_CODE, PRESENT, 2);
}

static void gate_absent(void)
{
	set_gate(gate_target, SEL_KERNEL_CODE, DPL3, 2);
}

static void gate_to_null(void)
{
	set_gate(gate_target, 0, PRESENT | DPL3, 0);
}

#define CALL_GATE(id, title, setup_, ...) \
	ROW(id, title, "pushl $0x1234\n pushl $0x5678", "lcall $" STRING(SEL_GATE) ",$0", RETURN(0xca), \
	    .class = CLASS_GATE, .setup = setup_, __VA_ARGS__)

CALL_GATE(call_gate_params, "call gate 3->0, 2 params copied", gate_with_params, .expected = VALUE(0x5678))
CALL_GATE(call_gate_return, "call gate 3->0 and lret $8", gate_that_returns, .expected = VALUE(0xca))
CALL_GATE(call_gate_dpl0, "call gate DPL0 from 3", gate_dpl0, .expected = FAULT_CODE(GP, SEL_GATE & ~3))
CALL_GATE(call_gate_absent, "call gate P=0", gate_absent, .expected = FAULT_CODE(NP, SEL_GATE & ~3))
CALL_GATE(call_gate_null_cs, "call gate null CS", gate_to_null, .expected = FAULT_CODE(GP, 0))

ROW(far_jmp_gate_inner, "far jmp via gate to inner", NOTHING, "ljmp $" STRING(SEL_GATE) ",$0", RETURN(0),
    .class = CLASS_GATE, .setup = gate_with_params, .expected = FAULT_CODE(GP, SEL_KERNEL_CODE))
