/* Far transfers that begin in ring 0, and what they leave in DS. */
#include "machine.h"

void landing(void), landing_with_ds(void), landing_with_cs(void);
__asm__(".text\nlanding_with_ds: movl %ds,%eax\n" ROW_END
	"landing_with_cs: movl %cs,%eax\n" ROW_END);

#define OUTWARD_STACK "pushl $0x23\n pushl $user_stack_top\n"
#define OUTWARD_CODE(where) "pushl $0x1b\n pushl $" #where

ROW(far_jmp_conforming_cpl, "far jmp conforming DPL0 code: CPL stays 3",
    NOTHING, "ljmp $" STRING(SEL_TEST) ",$landing_with_cs", NOTHING,
    .class = CLASS_TRANSFER, .test = FLAT_SEGMENT(PRESENT | CODE_CONFORMING_XR), .expected = VALUE(SEL_TEST))

RING0_ROW(ring0_far_call_dpl3, "ring0 far call to DPL3 code",
	  NOTHING, "lcall $0x1b,$landing", RETURN(0x4c),
	  .class = CLASS_TRANSFER, .expected = FAULT_CODE(GP, SEL_USER_CODE & ~3))

RING0_ROW(lret_ring0_to_ring3, "lret ring0 -> ring3",
	  OUTWARD_STACK OUTWARD_CODE(landing), "lret", NOTHING,
	  .class = CLASS_TRANSFER, .expected = VALUE(0xd0))

RING0_ROW(lret_nulls_ds, "DS(0x10) nulled on lret to outer",
	  OUTWARD_STACK OUTWARD_CODE(landing_with_ds), "lret", NOTHING,
	  .class = CLASS_TRANSFER, .expected = VALUE(0))

RING0_ROW(iret_nulls_ds, "DS=DPL0 nulled by iret to ring3",
	  OUTWARD_STACK "pushl $2\n" OUTWARD_CODE(landing_with_ds), "iret", NOTHING,
	  .class = CLASS_TRANSFER, .expected = VALUE(0))
