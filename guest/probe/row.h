/*
 * One row: a situation, what real hardware does in it, and the instruction that shows it.
 *
 * Rows are declared with ROW and RING0_ROW, anywhere; the linker collects them in link order.
 * rows_*.c hold declarative rows: the fields below say all that they need, so that a 32-bit Linux process can
 * build the same situation in its LDT (guest/hostprobe). ring0_*.c hold rows with a set-up function, for the guest
 * alone.
 */
#ifndef ROW_H
#define ROW_H

#include <stdbool.h>
#include "row_end.h"
#include "x86.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define ROW_END STRING(ROW_END_CODE) "\n"

#ifdef HOSTPROBE
/* A process owns no GDT slot: the test descriptor is LDT entry 8, so error codes have TI set. */
#define SEL_TEST 0x47
#define TEST_TI 4
#else
#define SEL_TEST 0x43
#define TEST_TI 0
#endif
#define SEL_LDT_TEST 0x0f	 /* LDT entry 1 */
#define SEL_BEYOND_GDT 0x233	 /* entry 70 */
#define SEL_BEYOND_LDT 0xa7	 /* entry 20 */
#define SEL_RING0_CODE 0x08	 /* not usable from ring 3, neither here nor under Linux */
#define TEST_CODE (0x40 | TEST_TI) /* the error code that names SEL_TEST */

enum class {
	CLASS_LOAD, CLASS_DATA, CLASS_STACK, CLASS_FETCH, CLASS_TRANSFER, CLASS_GATE, CLASS_INTERRUPT,
	CLASS_IO, CLASS_PRIVILEGED, CLASS_DESCRIPTOR_TABLE, CLASS_SYSENTER, CLASS_QUERY, CLASS_PAGING,
	CLASS_DEBUG, CLASS_TASK
};

enum kind { KIND_VALUE, KIND_FAULT };

/* How a row ends: at ROW_END with a value in EAX, or in an exception. */
struct outcome {
	enum kind kind;
	enum vector vector;
	uint32_t code;		 /* KIND_VALUE: EAX; KIND_FAULT: error code */
	uint32_t mask;		 /* KIND_VALUE: the bits of EAX that are defined */
	uintptr_t cr2;		 /* #PF alone */
	uintptr_t cr2_mask;
	uintptr_t linear;	 /* where it ended */
};

#define VALUE(v) { .kind = KIND_VALUE, .code = (v), .mask = ~0u }
#define VALUE_IN(m, v) { .kind = KIND_VALUE, .code = (v), .mask = (m) }
#define FAULT(v) { .kind = KIND_FAULT, .vector = VECTOR_##v }
#define FAULT_CODE(v, c) { .kind = KIND_FAULT, .vector = VECTOR_##v, .code = (c) }
#define PAGE_FAULT(c, at) \
	{ .kind = KIND_FAULT, .vector = VECTOR_PF, .code = (c), .cr2 = (uintptr_t)(at), .cr2_mask = ~0u }
/* The access may be reported at any byte of the descriptor. */
#define PAGE_FAULT_IN_DESCRIPTOR(c, at) \
	{ .kind = KIND_FAULT, .vector = VECTOR_PF, .code = (c), .cr2 = (uintptr_t)(at), .cr2_mask = ~7u }

/* A descriptor still to be encoded: base plus limit is no constant expression. access 0: an all-zero slot. */
struct segment {
	const void *base;
	uint32_t limit;
	uint8_t access;
	uint8_t flags;
};

#define SCRATCH_SEGMENT(access_) { scratch, 0xfff, (access_), BITS32 }
#define FLAT_SEGMENT(access_) { NULL, 0xfffff, (access_), GRANULAR | BITS32 }

enum page_state { PAGE_UNTOUCHED, PAGE_ABSENT, PAGE_SUPERVISOR, PAGE_READ_ONLY };
enum need { NEEDS_PAGING = 1, NEEDS_UMIP = 2, NEEDS_SEP = 4 };

struct row {
	const char *symbol;	     /* the id with _ for -; row_<symbol> is the tested instruction */
	const char *title;
	void (*code)(void);
	enum class class;
	bool ring0;
	struct outcome expected;
	struct segment test;	     /* behind SEL_TEST */
	struct segment ldt_test;     /* behind SEL_LDT_TEST */
	uint16_t cs, ss;	     /* 0: flat */
	uint32_t esp;		     /* with ss */
	uint32_t eflags;	     /* bits to add */
	enum page_state page[2];     /* of the scratch area's first two pages */
	unsigned needs;
	bool count_steps;	     /* each #DB is counted in step_count, and the fourth clears TF */
	bool keeps_cr0;		     /* CR0 stays as the row left it: it switches something on for good */
	void (*setup)(void);
	void (*between)(void);	     /* run in ring 0 when the code executes int $0x81 */
};

#define USED_IN(name) __attribute__((used, section(name)))

/* A row whose code lies elsewhere (fetch.S): code_ is its offset in the segment that it runs in. */
#define ROW_AT(id, title_, code_, ...) \
	static const struct row entry_##id = { \
		.symbol = #id, .title = title_, .code = (code_), __VA_ARGS__ }; \
	static const struct row *const listed_##id USED_IN("row_table") = &entry_##id;

/* A row: before; the tested instruction, labelled row_<id>; after, when nothing stops it. */
#define ROW(id, title_, before, instruction, after, ...) \
	__attribute__((naked, noinline)) static void code_##id(void) \
	{ \
		__asm__(before "\n .globl row_" #id "\nrow_" #id ":\n" instruction "\n" after "\n" ROW_END); \
	} \
	ROW_AT(id, title_, code_##id, __VA_ARGS__)

#define RING0_ROW(id, title_, before, instruction, after, ...) \
	ROW(id, title_, before, instruction, after, .ring0 = true, __VA_ARGS__)

#define NOTHING ""
#define RETURN(value) "movl $" #value ",%eax"
#define WITH_ES(selector) "movw $" STRING(selector) ",%ax\n movw %ax,%es"

extern const struct row *const __start_row_table[], *const __stop_row_table[];

/* Where wild accesses land: a page before, for those that wrap, four pages, and known contents (fill_scratch). */
#define SCRATCH_PAGES 4
extern uint8_t scratch[SCRATCH_PAGES * PAGE_SIZE];
void fill_scratch(void);

/* What an unenforced LGDT would load: the table that is in use. */
extern struct table_register harmless_gdtr;

extern volatile uint32_t step_count;

/* fetch.S: one page of code, and a landing place beyond it at FETCH_TARGET. */
extern const uint8_t fetch_area[];

#endif
