/* Software interrupts and the exceptions that instructions ask for. */
#include "row.h"

/* IDT bit set: the error code names a gate. Linux's gate for this vector has DPL 0 as well. */
ROW(int_gate_dpl0, "int n, gate DPL0", NOTHING, "int $0x31", NOTHING,
    .class = CLASS_INTERRUPT, .expected = FAULT_CODE(GP, 0x31 << 3 | 2))

ROW(int3, "int3 from ring3", NOTHING, "int3", NOTHING,
    .class = CLASS_INTERRUPT, .expected = FAULT(BP))

ROW(into, "into", "movb $0x7f,%al\n addb $1,%al", "into", RETURN(1),
    .class = CLASS_INTERRUPT, .expected = FAULT(OF))

ROW(bound, "bound", "movl $0,scratch\n movl $50,scratch+4\n movl $100,%eax", "bound %eax,scratch", RETURN(1),
    .class = CLASS_INTERRUPT, .expected = FAULT(BR))

ROW(ud2, "ud2", NOTHING, "ud2", NOTHING,
    .class = CLASS_INTERRUPT, .expected = FAULT(UD))
