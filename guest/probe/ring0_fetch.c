/* Leaving ring 0 for code beyond the limit. */
#include "machine.h"

RING0_ROW(iret_ring0_past_limit, "iret ring0->3 past CS limit",
	  "pushl $0x23\n pushl $user_stack_top\n pushl $2\n"
	  "pushl $" STRING(SEL_TEST) "\n pushl $" STRING(FETCH_TARGET), "iret", NOTHING,
	  .class = CLASS_FETCH, .test = { fetch_area, 0xfff, PRESENT | DPL3 | CODE_X, BITS32 },
	  .expected = FAULT_CODE(GP, 0))
