/* The processor's tables, rebuilt before every row so that no row can see what an earlier one did. */
#ifndef MACHINE_H
#define MACHINE_H

#include "row.h"

enum {
	SLOT_KERNEL_CODE = 1, SLOT_KERNEL_DATA, SLOT_USER_CODE, SLOT_USER_DATA, SLOT_TSS, SLOT_LDT,
	SLOT_TEST = 8,
	SLOT_GATE = 20,
	SLOT_TASK,
	GDT_SLOTS = 64,
	LDT_SLOTS = 16,
};
enum {
	SEL_KERNEL_CODE = SLOT_KERNEL_CODE << 3,
	SEL_KERNEL_DATA = SLOT_KERNEL_DATA << 3,
	SEL_USER_CODE = SLOT_USER_CODE << 3 | 3,
	SEL_USER_DATA = SLOT_USER_DATA << 3 | 3,
	SEL_TSS = SLOT_TSS << 3,
	SEL_LDT = SLOT_LDT << 3,
};
/* These are spelled out in assembly. */
#define SEL_GATE 0xa3
#define SEL_TASK 0xa8
_Static_assert(SEL_GATE == (SLOT_GATE << 3 | 3), "the call gate's selector");
_Static_assert(SEL_TASK == SLOT_TASK << 3, "the second task's selector");
_Static_assert(SEL_TEST == (SLOT_TEST << 3 | 3), "the test descriptor's selector");
_Static_assert(SEL_BEYOND_GDT >> 3 >= GDT_SLOTS && SEL_BEYOND_LDT >> 3 >= LDT_SLOTS, "beyond the tables");

enum {
	VECTOR_END = 0x80,     /* int $0x80 ends a row */
	VECTOR_BETWEEN = 0x81, /* int $0x81 runs the row's between function */
};
#define VECTOR_GATE_DPL0 0x31
#define VECTOR_GATE_ABSENT 0x32
#define VECTOR_GATE_TEST 0x33
#define VECTOR_TASK_GATE 0x40

/* The I/O bitmap begins on a page boundary, so that single pages of it can be remapped. */
#define IOMAP_BASE PAGE_SIZE
#define IOMAP_SIZE 0x2000u
#define TSS_LIMIT (IOMAP_BASE + IOMAP_SIZE)	/* the terminator is the last byte */
#define TSS_AREA_SIZE (TSS_LIMIT + PAGE_SIZE)

extern union entry gdt[GDT_SLOTS], ldt[LDT_SLOTS], idt[256];
extern uint8_t tss_area[TSS_AREA_SIZE];
extern uint8_t iomap_open[PAGE_SIZE];		/* a bitmap page that allows everything */
extern struct tss task_tss;

void machine_reset(void);
void keep_cr0(void);
bool paging_on(void);
bool cpu_has(unsigned needs);

union entry encode(struct segment segment);
union entry encode_gate(const void *offset, uint16_t selector, uint8_t access, uint8_t params);

struct tss *main_tss(void);
void allow_port(uint16_t port);
void load_tss(uint32_t limit, uint16_t iomap_base);
void load_ldt(uint16_t selector);
uint32_t *pte_of(const void *linear);
void set_pte(const void *linear, uint32_t pte);
uint32_t page_directory(void);

uint32_t read_cr0(void);
uint32_t read_cr4(void);
void write_cr4(uint32_t value);
void write_msr(uint32_t msr, uint32_t value);
void set_debug_register0(const void *linear, uint32_t dr7);

#endif
