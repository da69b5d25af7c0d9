/* Ports that nobody has allowed. Reading port 81h changes nothing, should it be allowed after all. */
#include "row.h"

ROW(in_denied, "in bitmap denied", "movw $0x81,%dx", "inb %dx,%al", RETURN(0x10),
    .class = CLASS_IO, .expected = FAULT_CODE(GP, 0))

ROW(insb_denied, "insb bitmap denied", "movw $0x81,%dx\n movl $scratch,%edi", "insb", RETURN(0x10),
    .class = CLASS_IO, .expected = FAULT_CODE(GP, 0))
