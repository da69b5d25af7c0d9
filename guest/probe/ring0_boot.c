/* What must work before anything else can be asked: linked first. */
#include "machine.h"

RING0_ROW(ring0_basic, "ring0 basic", NOTHING, "movl $0xd0,%eax", NOTHING,
	  .class = CLASS_TRANSFER, .expected = VALUE(0xd0))

RING0_ROW(ring0_ud2, "ring0 hidden ud2", NOTHING, "ud2", NOTHING,
	  .class = CLASS_INTERRUPT, .expected = FAULT(UD))

RING0_ROW(set_cr0_wp, "set CR0.WP",
	  "movl %cr0,%eax\n orl $0x10000,%eax", "movl %eax,%cr0", RETURN(1),
	  .class = CLASS_PAGING, .expected = VALUE(1), .keeps_cr0 = true)

RING0_ROW(set_cr0_pg, "set CR0.PG (4K paging)",
	  "movl %cr0,%eax\n orl $0x80000000,%eax", "movl %eax,%cr0", "jmp 1f\n 1: " RETURN(1),
	  .class = CLASS_PAGING, .expected = VALUE(1), .keeps_cr0 = true)

ROW(ring3_basic, "ring3 basic", NOTHING, "movl $0xd0,%eax", NOTHING,
    .class = CLASS_TRANSFER, .expected = VALUE(0xd0))
