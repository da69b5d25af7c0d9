#include "machine.h"

#define TABLES 4 /* page tables: 16 MiB, identity-mapped */
#define IN_PAGES __attribute__((aligned(PAGE_SIZE)))

union entry gdt[GDT_SLOTS] IN_PAGES;
union entry idt[256] IN_PAGES;
union entry ldt[LDT_SLOTS] IN_PAGES;
uint8_t tss_area[TSS_AREA_SIZE] IN_PAGES;
uint8_t iomap_open[PAGE_SIZE] IN_PAGES;
struct tss task_tss __attribute__((aligned(128)));
static uint32_t directory[1024] IN_PAGES, page_tables[TABLES][1024] IN_PAGES;

/* Wrapping accesses land in the page before the scratch area, which must therefore be nobody else's. */
static struct {
	uint8_t before[PAGE_SIZE];
	uint8_t area[SCRATCH_PAGES * PAGE_SIZE];
} scratch_pages __asm__("scratch_pages") IN_PAGES;
__asm__(".globl scratch\n .set scratch, scratch_pages + 4096");

static uint32_t kept_cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_AM;

struct table_register harmless_gdtr = { sizeof gdt - 1, (uintptr_t)gdt };
static const struct table_register idtr = { sizeof idt - 1, (uintptr_t)idt };

extern uint8_t stubs[], ring0_stack_top[];
void load_tables(const struct table_register *gdtr, const struct table_register *idtr);

union entry encode(struct segment s)
{
	uintptr_t base = (uintptr_t)s.base;

	return (union entry){ .segment = {
		.limit_low = s.limit & 0xffff,
		.base_low = base & 0xffff,
		.base_middle = base >> 16 & 0xff,
		.access = s.access,
		.limit_high = s.limit >> 16 & 0xf,
		.flags = s.flags,
		.base_high = base >> 24,
	} };
}

union entry encode_gate(const void *offset, uint16_t selector, uint8_t access, uint8_t params)
{
	return (union entry){ .gate = {
		.offset_low = (uintptr_t)offset & 0xffff,
		.selector = selector,
		.params = params,
		.access = access,
		.offset_high = (uintptr_t)offset >> 16,
	} };
}

struct tss *main_tss(void)
{
	return (struct tss *)tss_area;
}

void allow_port(uint16_t port)
{
	tss_area[IOMAP_BASE + port / 8] &= ~(1u << port % 8);
}

uint32_t page_directory(void)
{
	return (uintptr_t)directory;
}

uint32_t *pte_of(const void *linear)
{
	uintptr_t page = (uintptr_t)linear / PAGE_SIZE;

	return &page_tables[page / 1024][page % 1024];
}

void set_pte(const void *linear, uint32_t pte)
{
	*pte_of(linear) = pte;
	__asm__ volatile("invlpg (%0)" ::"r"(linear) : "memory");
}

uint32_t read_cr0(void)
{
	uint32_t value;

	__asm__ volatile("mov %%cr0,%0" : "=r"(value));
	return value;
}

uint32_t read_cr4(void)
{
	uint32_t value;

	__asm__ volatile("mov %%cr4,%0" : "=r"(value));
	return value;
}

void write_cr4(uint32_t value)
{
	__asm__ volatile("mov %0,%%cr4" ::"r"(value) : "memory");
}

void write_msr(uint32_t msr, uint32_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"(value), "d"(0));
}

void set_debug_register0(const void *linear, uint32_t dr7)
{
	__asm__ volatile("mov %0,%%dr0\n mov %1,%%dr7" ::"r"(linear), "r"(dr7));
}

void load_tss(uint32_t limit, uint16_t iomap_base)
{
	main_tss()->iomap_base = iomap_base;
	gdt[SLOT_TSS] = encode((struct segment){ tss_area, limit, PRESENT | SYSTEM_TSS32, 0 });
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
}

void load_ldt(uint16_t selector)
{
	__asm__ volatile("lldt %w0" ::"r"(selector) : "memory");
}

void keep_cr0(void)
{
	kept_cr0 = read_cr0();
}

bool paging_on(void)
{
	return kept_cr0 & CR0_PG;
}

bool cpu_has(unsigned needs)
{
	if ((needs & NEEDS_SEP) && !(cpuid(1).edx >> 11 & 1))
		return false;
	return !(needs & NEEDS_UMIP) || (cpuid(0).eax >= 7 && (cpuid(7).ecx >> 2 & 1));
}

void fill_scratch(void)
{
	for (unsigned i = 0; i < sizeof scratch_pages.area; i++)
		scratch[i] = i < PAGE_SIZE ? i : 0;
}

/* CR3 is written first: a row may have left the GDT's own page read-only. */
static void reset_paging(void)
{
	for (unsigned i = 0; i < TABLES * 1024; i++)
		page_tables[i / 1024][i % 1024] = i * PAGE_SIZE | PTE_P | PTE_W | PTE_U;
	for (unsigned i = 0; i < TABLES; i++)
		directory[i] = (uintptr_t)page_tables[i] | PTE_P | PTE_W | PTE_U;
	__asm__ volatile("mov %0,%%cr3" ::"r"(directory) : "memory");
	__asm__ volatile("mov %0,%%cr0" ::"r"(kept_cr0) : "memory");
}

/* Accessed bits are preset: otherwise leaving ring 0 writes to the GDT, whose page a row makes read-only. */
static void reset_gdt(void)
{
	for (unsigned i = 0; i < GDT_SLOTS; i++)
		gdt[i].raw = 0;
	gdt[SLOT_KERNEL_CODE] = encode((struct segment)FLAT_SEGMENT(PRESENT | CODE_XR | ACCESSED));
	gdt[SLOT_KERNEL_DATA] = encode((struct segment)FLAT_SEGMENT(PRESENT | DATA_RW | ACCESSED));
	gdt[SLOT_USER_CODE] = encode((struct segment)FLAT_SEGMENT(PRESENT | DPL3 | CODE_XR | ACCESSED));
	gdt[SLOT_USER_DATA] = encode((struct segment)FLAT_SEGMENT(PRESENT | DPL3 | DATA_RW | ACCESSED));
	gdt[SLOT_LDT] = encode((struct segment){ ldt, sizeof ldt - 1, PRESENT | SYSTEM_LDT, 0 });
}

/* Only what the rows' code may raise itself has DPL 3: the ends of rows, INT3 and INTO. */
static void reset_idt(void)
{
	for (unsigned i = 0; i < 256; i++)
		idt[i] = encode_gate(stubs + 16 * i, SEL_KERNEL_CODE, PRESENT | GATE_INT32, 0);
	idt[VECTOR_BP].gate.access |= DPL3;
	idt[VECTOR_OF].gate.access |= DPL3;
	idt[VECTOR_END].gate.access |= DPL3;
	idt[VECTOR_BETWEEN].gate.access |= DPL3;
}

static void reset_tss(void)
{
	for (unsigned i = 0; i < IOMAP_BASE; i++)
		tss_area[i] = 0;
	for (unsigned i = IOMAP_BASE; i < sizeof tss_area; i++)
		tss_area[i] = 0xff;
	main_tss()->ss0 = SEL_KERNEL_DATA;
	main_tss()->esp0 = (uintptr_t)ring0_stack_top;
	main_tss()->cr3 = page_directory();
}

/* Bring everything that rows change back to what rows expect: every port denied, every page user-writable. */
void machine_reset(void)
{
	set_debug_register0(NULL, 0);
	write_cr4(0);
	reset_paging();
	reset_gdt();
	reset_idt();
	for (unsigned i = 0; i < LDT_SLOTS; i++)
		ldt[i].raw = 0;
	load_tables(&harmless_gdtr, &idtr);
	load_ldt(SEL_LDT);
	reset_tss();
	load_tss(TSS_LIMIT, IOMAP_BASE);
	fill_scratch();
}
