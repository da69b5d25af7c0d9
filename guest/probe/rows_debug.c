/* ICEBP, alignment check and single step. CR0.AM is set, here and under Linux. */
#include "row.h"

ROW(icebp, "icebp (F1)", NOTHING, ".byte 0xf1", RETURN(1),
    .class = CLASS_DEBUG, .expected = FAULT(DB))

ROW(alignment_check, "alignment check", NOTHING, "movl scratch+1,%eax", RETURN(0xac),
    .class = CLASS_DEBUG, .eflags = EFLAGS_AC, .expected = FAULT_CODE(AC, 0))

ROW(single_step, "TF single step x4",
    "pushfl\n orl $0x100,(%esp)\n popfl", "nop", "nop\n nop\n nop\n nop\n movl step_count,%eax",
    .class = CLASS_DEBUG, .count_steps = true, .expected = VALUE(4))
