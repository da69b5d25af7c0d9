/* Far transfers from ring 3. */
#include "row.h"

/* Where those go that nothing stops; global, because far pointers in other rows' assembly name it. */
void landing(void);
__asm__(".text\n .globl landing\nlanding: movl $0xd0,%eax\n" ROW_END);

#define FAR_JMP(selector) "ljmp $" STRING(selector) ",$landing"
#define FAR_POINTER(selector) "pushl $" STRING(selector) "\n pushl $landing"
#define TRANSFER(id, title, before, instruction, ...) \
	ROW(id, title, before, instruction, RETURN(0), .class = CLASS_TRANSFER, __VA_ARGS__)
#define ABSENT_CODE FLAT_SEGMENT(DPL3 | CODE_X)

TRANSFER(far_jmp_absent_cs, "far jmp to CS P=0", NOTHING, FAR_JMP(SEL_TEST),
	 .test = ABSENT_CODE, .expected = FAULT_CODE(NP, TEST_CODE))
TRANSFER(lret_absent_cs, "lret to CS P=0", FAR_POINTER(SEL_TEST), "lret",
	 .test = ABSENT_CODE, .expected = FAULT_CODE(NP, TEST_CODE))
TRANSFER(iret_absent_cs, "iret to CS P=0", "pushfl\n" FAR_POINTER(SEL_TEST), "iret",
	 .test = ABSENT_CODE, .expected = FAULT_CODE(NP, TEST_CODE))
TRANSFER(far_jmp_data_segment, "far jmp to data seg", NOTHING, FAR_JMP(SEL_TEST),
	 .test = FLAT_SEGMENT(PRESENT | DPL3 | DATA_RW), .expected = FAULT_CODE(GP, TEST_CODE))
TRANSFER(far_jmp_conforming, "far jmp conforming DPL0 code", NOTHING, FAR_JMP(SEL_TEST),
	 .test = FLAT_SEGMENT(PRESENT | CODE_CONFORMING_XR), .expected = VALUE(0xd0))
TRANSFER(far_jmp_dpl0, "far jmp to DPL0 nonconforming", NOTHING, FAR_JMP(SEL_RING0_CODE | 3),
	 .expected = FAULT_CODE(GP, SEL_RING0_CODE))
TRANSFER(far_jmp_null, "far jmp null", NOTHING, FAR_JMP(0), .expected = FAULT_CODE(GP, 0))
TRANSFER(lret_to_ring0, "lret ring3->ring0 sel", FAR_POINTER(SEL_RING0_CODE), "lret",
	 .expected = FAULT_CODE(GP, SEL_RING0_CODE))
TRANSFER(iret_to_ring0, "iret ring3->ring0 sel", "pushfl\n" FAR_POINTER(SEL_RING0_CODE), "iret",
	 .expected = FAULT_CODE(GP, SEL_RING0_CODE))
