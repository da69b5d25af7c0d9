/* Runs every row on a freshly built machine and reports it on the debug console. */
#include "machine.h"
#include "report.h"

#define DEBUG_CONSOLE 0xe9
#define QEMU_EXIT 0xf4	   /* isa-debug-exit: QEMU's exit status is the value times two plus one */
#define BOCHS_EXIT 0x8900  /* takes the word Shutdown */
enum { EXIT_DONE = 0x10, EXIT_PANIC = 0x11 };

struct frame {
	uint32_t es, ds;
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags;
};
_Static_assert(offsetof(struct frame, vector) == 40, "boot.S pushes ten words above the vector");

extern uint8_t user_stack_top[];
void enter_ring3(void (*code)(void), uint32_t cs, uint32_t ss, uint32_t esp, uint32_t eflags, uint32_t ds);
void enter_ring0(void (*code)(void));
int trap(struct frame *frame);
void main(void);

volatile uint32_t step_count;
static const struct row *current; /* the row that runs; NULL between rows */
static struct outcome got;

void put_char(char c)
{
	outb(DEBUG_CONSOLE, c);
}

static void leave_machine(uint32_t status)
{
	for (const char *word = "Shutdown"; *word; word++)
		outb(BOCHS_EXIT, *word);
	outl(QEMU_EXIT, status);
	for (;;)
		__asm__ volatile("cli\n hlt");
}

/* An exception that no row asked for: the report must not look complete. */
static void panic(const struct frame *frame)
{
	put_text("PANIC|vector=");
	put_hex(frame->vector);
	put_text("|error=");
	put_hex(frame->error);
	put_text("|eip=");
	put_hex(frame->eip);
	put_char('\n');
	leave_machine(EXIT_PANIC);
}

static uintptr_t linear_of(const struct frame *frame)
{
	bool in_test_segment = (frame->cs | 3) == SEL_TEST;

	return frame->eip + (in_test_segment ? (uintptr_t)current->test.base : 0);
}

/* Called by every stub. 0 ends the row, 1 resumes what was interrupted. */
int trap(struct frame *frame)
{
	if (!current)
		panic(frame);
	if (frame->vector == VECTOR_BETWEEN && current->between) {
		current->between();
		return 1;
	}
	if (frame->vector == VECTOR_DB && current->count_steps) {
		if (++step_count >= 4)
			frame->eflags &= ~EFLAGS_TF;
		return 1;
	}
	got = (struct outcome){
		.kind = frame->vector == VECTOR_END ? KIND_VALUE : KIND_FAULT,
		.vector = frame->vector,
		.code = frame->vector == VECTOR_END ? frame->eax : frame->error,
		.linear = linear_of(frame),
	};
	__asm__ volatile("mov %%cr2,%0" : "=r"(got.cr2));
	return 0;
}

static void set_page(unsigned index, enum page_state state)
{
	static const uint32_t flags[] = {
		[PAGE_UNTOUCHED] = PTE_P | PTE_W | PTE_U,
		[PAGE_ABSENT] = 0,
		[PAGE_SUPERVISOR] = PTE_P | PTE_W,
		[PAGE_READ_ONLY] = PTE_P | PTE_U,
	};
	const uint8_t *page = scratch + index * PAGE_SIZE;

	set_pte(page, (uintptr_t)page | flags[state]);
}

static void prepare(const struct row *row)
{
	gdt[SLOT_TEST] = encode(row->test);
	ldt[SEL_LDT_TEST >> 3] = encode(row->ldt_test);
	for (unsigned i = 0; i < 2; i++)
		if (row->page[i] != PAGE_UNTOUCHED)
			set_page(i, row->page[i]);
	step_count = 0;
	if (row->setup)
		row->setup();
}

static void run(const struct row *row)
{
	prepare(row);
	current = row;
	if (row->ring0)
		enter_ring0(row->code);
	else
		enter_ring3(row->code, row->cs ? row->cs : SEL_USER_CODE, row->ss ? row->ss : SEL_USER_DATA,
			    row->ss ? row->esp : (uintptr_t)user_stack_top, row->eflags | EFLAGS_FIXED,
			    SEL_USER_DATA);
	current = NULL;
	if (row->keeps_cr0 && got.kind == KIND_VALUE)
		keep_cr0();
	machine_reset();
	report_row(row, &got);
}

static const char *reason_to_skip(const struct row *row)
{
	if ((row->needs & NEEDS_PAGING) && !paging_on())
		return "no paging";
	if (!cpu_has(row->needs & NEEDS_UMIP))
		return "no UMIP";
	if (!cpu_has(row->needs & NEEDS_SEP))
		return "no SYSENTER";
	return NULL;
}

void main(void)
{
	machine_reset();
	report_header("guest", __stop_row_table - __start_row_table);
	for (const struct row *const *row = __start_row_table; row < __stop_row_table; row++) {
		const char *reason = reason_to_skip(*row);

		if (reason)
			report_skipped(*row, reason);
		else
			run(*row);
	}
	report_end();
	leave_machine(EXIT_DONE);
}
