/* The I/O permission bitmap. Ports 78h to 88h: DMA page registers and the POST code port, harmless to read. */
#include "machine.h"

/* The byte of the bitmap that holds ports 80h to 87h, for code that edits it in place. */
#define IOMAP_BYTE_80 "tss_area+0x1010"
_Static_assert(IOMAP_BASE + 0x80 / 8 == 0x1010, "IOMAP_BYTE_80");

#define IN1(id, title, port, ...) \
	ROW(id, title, "movw $" STRING(port) ",%dx", "inb %dx,%al", RETURN(0x10), .class = CLASS_IO, __VA_ARGS__)
#define IN2(id, title, port, ...) \
	ROW(id, title, "movw $" STRING(port) ",%dx", "inw %dx,%ax", RETURN(0x20), .class = CLASS_IO, __VA_ARGS__)

static void allow_80(void)
{
	allow_port(0x80);
}

static void allow_87_and_88(void)
{
	allow_port(0x87);
	allow_port(0x88);
}

static void iomap_beyond_limit(void)
{
	load_tss(sizeof(struct tss) - 1, sizeof(struct tss));
}

/* The processor reads two bytes of the bitmap, so the one after the port's must lie within the limit too. */
static void iomap_ends_with_byte_of_80(void)
{
	allow_80();
	load_tss(IOMAP_BASE + 0x80 / 8, IOMAP_BASE);
}

static void iomap_ends_after_byte_of_78(void)
{
	allow_port(0x78);
	load_tss(IOMAP_BASE + 0x78 / 8 + 1, IOMAP_BASE);
}

static void allow_across_pages(void)
{
	allow_port(0x7fff);
	allow_port(0x8000);
}

static uint8_t *second_page(void)
{
	return tss_area + IOMAP_BASE + PAGE_SIZE;
}

static void second_page_absent(void)
{
	set_pte(second_page(), 0);
}

/* Supervisor-only: the processor reads the bitmap with the rights of ring 0. */
static void second_page_open(void)
{
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		iomap_open[i] = 0;
	set_pte(second_page(), (uintptr_t)iomap_open | PTE_P | PTE_W);
}

static void second_page_closed(void)
{
	set_pte(second_page(), (uintptr_t)second_page() | PTE_P | PTE_W | PTE_U);
}

IN1(in_allowed, "in bitmap allowed", 0x80, .setup = allow_80, .expected = VALUE(0x10))

ROW(out_allowed, "out bitmap allowed", "movw $0x80,%dx\n xorl %eax,%eax", "outb %al,%dx", RETURN(0x10),
    .class = CLASS_IO, .setup = allow_80, .expected = VALUE(0x10))

ROW(insb_allowed, "insb bitmap allowed", "movw $0x80,%dx\n movl $scratch,%edi", "insb", RETURN(0x10),
    .class = CLASS_IO, .setup = allow_80, .expected = VALUE(0x10))

IN2(inw_second_denied, "inw: second port denied", 0x80, .setup = allow_80, .expected = FAULT_CODE(GP, 0))

ROW(iomap_edited_in_place, "bitmap edited in place, no LTR",
    "andb $0xfc," IOMAP_BYTE_80 "\n movw $0x80,%dx", "inw %dx,%ax", RETURN(0x20),
    .class = CLASS_IO, .expected = VALUE(0x20))

IN2(inw_across_bytes, "inw across bitmap byte boundary", 0x87, .setup = allow_87_and_88, .expected = VALUE(0x20))
IN1(iomap_base_past_limit, "iob offset past TSS limit", 0x80,
    .setup = iomap_beyond_limit, .expected = FAULT_CODE(GP, 0))
IN1(iomap_byte_at_limit, "bitmap byte == limit (needs byte+1)", 0x80,
    .setup = iomap_ends_with_byte_of_80, .expected = FAULT_CODE(GP, 0))
IN1(iomap_byte_before_limit, "bitmap byte+1 == limit", 0x78,
    .setup = iomap_ends_after_byte_of_78, .expected = VALUE(0x10))
IN2(inw_across_pages, "inw bitmap spanning 2 pages", 0x7fff,
    .setup = allow_across_pages, .expected = VALUE(0x20))
IN1(iomap_page_absent, "bitmap page not present", 0x8008,
    .setup = second_page_absent, .needs = NEEDS_PAGING, .expected = PAGE_FAULT(0, tss_area + IOMAP_BASE + 0x8008 / 8))
IN1(iomap_page_remapped, "bitmap page remapped (all-allow), supervisor-only pte", 0x8100,
    .setup = second_page_open, .needs = NEEDS_PAGING, .expected = VALUE(0x10))

/* Allowed, then mapped back by ring 0 without a task switch or LTR: the old page must not be remembered. */
ROW(iomap_page_restored, "bitmap page mapped back",
    "movw $0x8100,%dx\n inb %dx,%al\n int $0x81", "inb %dx,%al", RETURN(0x10),
    .class = CLASS_IO, .setup = second_page_open, .between = second_page_closed, .needs = NEEDS_PAGING,
    .expected = FAULT_CODE(GP, 0))

ROW(iopl3_overrides_iomap, "IOPL3 overrides bitmap", "movw $0x81,%dx", "inb %dx,%al", RETURN(0x10),
    .class = CLASS_IO, .eflags = EFLAGS_IOPL3, .expected = VALUE(0x10))
