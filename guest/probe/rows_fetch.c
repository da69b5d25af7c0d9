/* Fetching: the limit of CS, and what may lie behind it. */
#include "row.h"

#define LIMITED { fetch_area, 0xfff, PRESENT | DPL3 | CODE_X, BITS32 }
#define UNLIMITED { fetch_area, 0xfffff, PRESENT | DPL3 | CODE_X, GRANULAR | BITS32 }

/* fetch.S holds the code; an offset_ symbol's value is where it begins in the segment. */
#define IN_FETCH_AREA(id, title, segment, ...) \
	void offset_##id(void); \
	ROW_AT(id, title, offset_##id, .class = CLASS_FETCH, .cs = SEL_TEST, .test = segment, __VA_ARGS__)

ROW(run_execute_only_cs, "run in execute-only CS", NOTHING, "movl $0xd0,%eax", NOTHING,
    .class = CLASS_FETCH, .cs = SEL_TEST, .test = FLAT_SEGMENT(PRESENT | DPL3 | CODE_X), .expected = VALUE(0xd0))

IN_FETCH_AREA(near_jmp_past_limit, "near jmp past CS limit", LIMITED, .expected = FAULT_CODE(GP, 0))
IN_FETCH_AREA(indirect_jmp_past_limit, "indirect jmp past CS limit", LIMITED, .expected = FAULT_CODE(GP, 0))
IN_FETCH_AREA(ret_past_limit, "ret past CS limit", LIMITED, .expected = FAULT_CODE(GP, 0))
IN_FETCH_AREA(call_past_limit, "call past CS limit", LIMITED, .expected = FAULT_CODE(GP, 0))
IN_FETCH_AREA(fetch_over_limit, "straight-line fetch over CS limit", LIMITED, .expected = FAULT_CODE(GP, 0))

#define FAR(id, title, before, instruction) \
	ROW(id, title, before, instruction, RETURN(0), \
	    .class = CLASS_FETCH, .test = LIMITED, .expected = FAULT_CODE(GP, 0))

FAR(far_jmp_past_limit, "far jmp past CS limit",
    NOTHING, "ljmp $" STRING(SEL_TEST) ",$" STRING(FETCH_TARGET))
FAR(lret_past_limit, "lret past CS limit",
    "pushl $" STRING(SEL_TEST) "\n pushl $" STRING(FETCH_TARGET), "lret")
FAR(iret_past_limit, "iret past CS limit",
    "pushfl\n pushl $" STRING(SEL_TEST) "\n pushl $" STRING(FETCH_TARGET), "iret")

IN_FETCH_AREA(cs_base_nonzero, "CS base!=0 runs", UNLIMITED, .expected = VALUE(0x99))
