/* Accesses through SS: the same limits, but #SS. */
#include "row.h"

#define STACK_SEGMENT SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW)

ROW(ss_read_past_limit, "SS: read past limit",
    "movl $0x1000,%ebx\n movw $" STRING(SEL_TEST) ",%ax\n movw %ax,%ss", "movb %ss:(%ebx),%al", RETURN(0x51),
    .class = CLASS_STACK, .test = STACK_SEGMENT, .expected = FAULT_CODE(SS, 0))

ROW(push_past_limit, "push past SS limit (esp=0x1004)", NOTHING, "pushl %eax", RETURN(0x50),
    .class = CLASS_STACK, .test = STACK_SEGMENT, .ss = SEL_TEST, .esp = 0x1004, .expected = FAULT_CODE(SS, 0))

ROW(push_esp_zero_wrap, "push esp=0 wrap", NOTHING, "pushl %eax", RETURN(0x50),
    .class = CLASS_STACK, .test = STACK_SEGMENT, .ss = SEL_TEST, .esp = 0, .expected = FAULT_CODE(SS, 0))
