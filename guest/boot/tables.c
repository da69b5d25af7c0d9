/*
 * The descriptor tables: their contents, and the instructions that load them. The TSS and the gates to the stubs (paper, 2.1);
 * CSOS and DSAPP (paper, 2.2, 2.3.1); where the I/O bitmap lies (paper, 2.3.2); what fills all slots where DSOS is not, and
 * tables that SGDT, SIDT, SLDT and STR tell of but DSAPP does not reach (paper, 2.3.3).
 */
#include "boot.h"
#include "os.h"

#define LIMIT_4G 0xFFFFF
#define LIMIT_DSAPP (APP_TOP / PAGE_SIZE - 1)

extern char comparison_trap[], return_gate[], double_fault_entry[], fault_stack_top[], core_stack_top[];
extern char core_stack_bottom[], handler_stack_bottom[], handler_stack_top[], idle_site[];
extern char os_text_start[], os_text_end[], core_text_start[], core_text_end[];
extern const uint32_t stub_table[256], service_table[], service_table_end[];

static struct descriptor gdt[TABLE_ENTRIES] __attribute__((section(".bss.pages"), aligned(PAGE_SIZE)));
static struct descriptor ldt[TABLE_ENTRIES] __attribute__((section(".bss.pages"), aligned(PAGE_SIZE)));
static struct gate idt[256] __attribute__((section(".bss.pages"), aligned(PAGE_SIZE)));
static struct tss fault_tss;

static void set(uint32_t selector, struct descriptor descriptor)
{
	gdt[selector >> 3] = descriptor;
}

static void set_gate(uint32_t selector, struct gate gate)
{
	memcpy(&gdt[selector >> 3], &gate, sizeof(gate));
}

static void build_gdt(void)
{
	struct descriptor filler = make_descriptor(0, LIMIT_4G, ACCESS_FILLER, FLAGS_32BIT_PAGES);

	for (uint32_t i = 0; i < TABLE_ENTRIES; i++)
		ldt[i] = gdt[i] = filler;
	memset(&gdt[0], 0, sizeof(gdt[0]));
	set(CORE_CODE, make_descriptor(0, LIMIT_4G, ACCESS_CORE_CODE, FLAGS_32BIT_PAGES));
	set(CORE_DATA, make_descriptor(0, LIMIT_4G, ACCESS_CORE_DATA, FLAGS_32BIT_PAGES));
	set(CSOS, make_descriptor(0, LIMIT_4G, ACCESS_CSOS, FLAGS_32BIT_PAGES));
	set(DSAPP, make_descriptor(0, LIMIT_DSAPP, ACCESS_DATA3, FLAGS_32BIT_PAGES));
	set(TSS_SELECTOR, make_descriptor(TSS_ADDRESS, TSS_LIMIT, ACCESS_TSS, 0));
	set(LDT_SELECTOR, make_descriptor((uint32_t)ldt, sizeof(ldt) - 1, ACCESS_LDT, 0));
	set_gate(GATE_SELECTOR, make_gate(CORE_CODE, (uint32_t)return_gate, ACCESS_CALL_GATE3));
	set(FAULT_TSS_SELECTOR, make_descriptor((uint32_t)&fault_tss, sizeof(fault_tss) - 1, ACCESS_TSS, 0));
}

static int open_to_ring3(uint32_t vector)
{
	return vector == VECTOR_BP || vector == VECTOR_OF || vector == VECTOR_COMMIT || vector == VECTOR_TRAP;
}

static void build_idt(void)
{
	for (uint32_t vector = 0; vector < 256; vector++) {
		uint8_t access = open_to_ring3(vector) ? ACCESS_INTERRUPT_GATE3 : ACCESS_INTERRUPT_GATE0;
		idt[vector] = make_gate(CORE_CODE, stub_table[vector], access);
	}
	idt[VECTOR_COMPARISON] = make_gate(CORE_CODE, (uint32_t)comparison_trap, ACCESS_INTERRUPT_GATE0);
	idt[VECTOR_DF] = make_gate(FAULT_TSS_SELECTOR, 0, ACCESS_TASK_GATE);
}

static void build_tss(void)
{
	struct tss *tss = (struct tss *)TSS_ADDRESS;

	tss->esp0 = (uint32_t)core_stack_top;
	tss->ss0 = CORE_DATA;
	tss->cr3 = klos_info.os_page_directory;
	tss->ldt = LDT_SELECTOR;
	tss->iomap_base = TSS_SIZE;
	fault_tss.cr3 = klos_info.os_page_directory;
	fault_tss.eip = (uint32_t)double_fault_entry;
	fault_tss.eflags = EFLAGS_FIXED;
	fault_tss.esp = (uint32_t)fault_stack_top;
	fault_tss.cs = CORE_CODE;
	fault_tss.ss = fault_tss.ds = fault_tss.es = CORE_DATA;
	fault_tss.iomap_base = sizeof(fault_tss);
}

static void describe_selectors(void)
{
	klos_info.csos = CSOS;
	klos_info.dsapp = DSAPP;
	klos_info.core_code = CORE_CODE;
	klos_info.core_data = CORE_DATA;
	klos_info.tss_selector = TSS_SELECTOR;
	klos_info.ldt_selector = LDT_SELECTOR;
	klos_info.gate_selector = GATE_SELECTOR;
	klos_info.fault_tss_selector = FAULT_TSS_SELECTOR;
	klos_info.commit_vector = VECTOR_COMMIT;
	klos_info.trap_vector = VECTOR_TRAP;
	klos_info.irq_vector = VECTOR_IRQ;
}

static void describe_tables(void)
{
	klos_info.gdt = (uint32_t)gdt;
	klos_info.gdt_limit = sizeof(gdt) - 1;
	klos_info.ldt = (uint32_t)ldt;
	klos_info.ldt_limit = sizeof(ldt) - 1;
	klos_info.idt = (uint32_t)idt;
	klos_info.idt_limit = sizeof(idt) - 1;
	klos_info.tss = TSS_ADDRESS;
	klos_info.tss_limit = TSS_LIMIT;
	klos_info.iomap = IOMAP;
	klos_info.iomap_size = IOMAP_SIZE;
	klos_info.app_base = APP_BASE;
	klos_info.app_top = APP_TOP;
	klos_info.os_base = OS_BASE;
	klos_info.window_base = WINDOW_BASE;
}

static void describe_code(void)
{
	klos_info.os_text_start = (uint32_t)os_text_start;
	klos_info.os_text_end = (uint32_t)os_text_end;
	klos_info.core_text_start = (uint32_t)core_text_start;
	klos_info.core_text_end = (uint32_t)core_text_end;
	klos_info.return_gate = (uint32_t)return_gate;
	klos_info.idle_site = (uint32_t)idle_site;
	klos_info.frame_size = FRAME_SIZE;
	klos_info.core_stack_bottom = (uint32_t)core_stack_bottom;
	klos_info.core_stack_top = (uint32_t)core_stack_top;
	klos_info.handler_stack_bottom = (uint32_t)handler_stack_bottom;
	klos_info.handler_stack_top = (uint32_t)handler_stack_top;
	klos_info.stubs.address = (uint32_t)stub_table;
	klos_info.stubs.count = 256;
	klos_info.stubs.entry_size = sizeof(stub_table[0]);
	klos_info.service_table.address = (uint32_t)service_table;
	klos_info.service_table.count = (uint32_t)(service_table_end - service_table);
	klos_info.service_table.entry_size = sizeof(service_table[0]);
}

void tables_build(void)
{
	build_gdt();
	build_idt();
	describe_selectors();
	describe_tables();
	describe_code();
}

/* With the system process's address space in CR3: the TSS is in its window. */
void tables_load(void)
{
	struct table_register gdtr = { sizeof(gdt) - 1, (uint32_t)gdt }, idtr = { sizeof(idt) - 1, (uint32_t)idt };

	build_tss();
	__asm__ volatile("lgdt %0\n\t"
			 "lidt %1\n\t"
			 "ljmp %2, $1f\n"
			 "1:\tmov %3, %%ds\n\t"
			 "mov %3, %%es\n\t"
			 "mov %3, %%ss\n\t"
			 "mov %4, %%fs\n\t"
			 "mov %4, %%gs\n\t"
			 "lldt %w5\n\t"
			 "ltr %w6"
			 : : "m"(gdtr), "m"(idtr), "i"(CORE_CODE), "r"(CORE_DATA), "r"(0), "r"(LDT_SELECTOR),
			 "r"(TSS_SELECTOR) : "memory");
}
