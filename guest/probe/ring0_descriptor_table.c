/* The tables themselves: the hidden copy of a descriptor, LLDT and LTR, and page protection of the GDT. */
#include "machine.h"

#define WRITABLE SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW)
#define WRITABLE_ACCESSED SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW | ACCESSED)

/* gdt+8*8 is the test slot. */
ROW(stale_zeroed_slot, "stale: zero GDT slot after load, use ES",
    WITH_ES(SEL_TEST) "\n movl $0,gdt+8*8\n movl $0,gdt+8*8+4", "movb %es:0x10,%al", RETURN(0x57),
    .class = CLASS_DESCRIPTOR_TABLE, .test = WRITABLE, .expected = VALUE(0x57))

ROW(stale_shrunk_limit, "stale: shrink limit in GDT after load",
    WITH_ES(SEL_TEST) "\n movw $0xf,gdt+8*8", "movb %es:0x800,%al", RETURN(0x58),
    .class = CLASS_DESCRIPTOR_TABLE, .test = WRITABLE, .expected = VALUE(0x58))

RING0_ROW(lldt_absent, "lldt P=0", "movw $" STRING(SEL_TEST) ",%ax", "lldt %ax", RETURN(0x1d),
	  .class = CLASS_DESCRIPTOR_TABLE, .test = { ldt, sizeof ldt - 1, SYSTEM_LDT, 0 },
	  .expected = FAULT_CODE(NP, SEL_TEST & ~3))

RING0_ROW(lldt_wrong_type, "lldt wrong type", "movw $" STRING(SEL_TEST) ",%ax", "lldt %ax", RETURN(0x1d),
	  .class = CLASS_DESCRIPTOR_TABLE, .test = FLAT_SEGMENT(PRESENT | DATA_RW),
	  .expected = FAULT_CODE(GP, SEL_TEST & ~3))

/* The running task's TSS is busy since machine_reset loaded it. */
RING0_ROW(ltr_busy, "ltr busy TSS", "movw $0x28,%ax", "ltr %ax", RETURN(0x1e),
	  .class = CLASS_DESCRIPTOR_TABLE, .expected = FAULT_CODE(GP, SEL_TSS))

static void gdt_read_only(void)
{
	set_pte(gdt, (uintptr_t)gdt | PTE_P);
}

ROW(gdt_read_only_accessed_set, "GDT page read-only supervisor, A=1, load",
    "movw $" STRING(SEL_TEST) ",%ax", "movw %ax,%es", RETURN(0x11),
    .class = CLASS_DESCRIPTOR_TABLE, .test = WRITABLE_ACCESSED, .setup = gdt_read_only, .needs = NEEDS_PAGING,
    .expected = VALUE(0x11))

ROW(ring3_write_gdt, "ring3 write to supervisor GDT page", NOTHING, "movl $1,gdt+8*30", RETURN(9),
    .class = CLASS_DESCRIPTOR_TABLE, .setup = gdt_read_only, .needs = NEEDS_PAGING,
    .expected = PAGE_FAULT(PTE_U | PTE_W | PTE_P, gdt + 30))

/* The processor itself writes the accessed bit, with the rights of ring 0, and CR0.WP holds for it. */
ROW(gdt_read_only_accessed_clear, "GDT page read-only (WP=1), A=0, load",
    "movw $" STRING(SEL_TEST) ",%ax", "movw %ax,%es", RETURN(0x11),
    .class = CLASS_DESCRIPTOR_TABLE, .test = WRITABLE, .setup = gdt_read_only, .needs = NEEDS_PAGING,
    .expected = PAGE_FAULT_IN_DESCRIPTOR(PTE_W | PTE_P, gdt + SLOT_TEST))
