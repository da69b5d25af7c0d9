/*
 * Asks the real processor: runs the probe guest's declarative rows (guest/probe/rows_*.c) as a 32-bit Linux
 * process, with the test descriptors in its LDT. The signal frame tells the exception, its error code and CR2.
 */
#include "ldt.h"
#include "row.h"
#include "report.h"

enum { SYS_WRITE = 4, SYS_MODIFY_LDT = 123, SYS_MPROTECT = 125, SYS_RT_SIGACTION = 174, SYS_SIGALTSTACK = 186 };
enum { SIGNAL_ILL = 4, SIGNAL_TRAP = 5, SIGNAL_BUS = 7, SIGNAL_FPE = 8, SIGNAL_SEGV = 11 };
enum { FLAG_SIGINFO = 4, FLAG_RESTORER = 0x04000000, FLAG_ONSTACK = 0x08000000, FLAG_NODEFER = 0x40000000 };
enum { PROTECT_NONE = 0, PROTECT_READ = 1, PROTECT_WRITE = 2 };
enum { EXIT_CANNOT_RUN = 77 };

struct ucontext;

struct kernel_sigaction {
	void (*handler)(int, void *, struct ucontext *);
	uint32_t flags;
	void (*restorer)(void);
	uint32_t mask[2];
};

struct sigaltstack {
	void *base;
	int flags;
	uint32_t size;
};

struct sigcontext {
	uint32_t gs, fs, es, ds;
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
	uint32_t trapno, err;
	uint32_t eip, cs, eflags, esp_at_signal, ss;
	uint32_t fpstate, oldmask, cr2;
};
_Static_assert(offsetof(struct sigcontext, cr2) == 84, "struct sigcontext_32 of Linux");

struct ucontext {
	uint32_t flags, link;
	struct sigaltstack stack;
	struct sigcontext context;
};

struct far_pointer {
	uint32_t offset;
	uint16_t selector;
} PACKED;
_Static_assert(sizeof(struct far_pointer) == 6, "what LJMP and LSS take");

uint32_t row_eflags;
/* Aligned, because a row may set EFLAGS.AC before they are read. */
struct far_pointer row_stack __attribute__((aligned(8))), row_entry __attribute__((aligned(8)));
extern uint32_t row_caller_esp;
void enter_row(void), row_left(void), signal_return(void);
int main(void);

uint8_t scratch[SCRATCH_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t row_stack_area[PAGE_SIZE] __attribute__((aligned(16)));
static uint8_t signal_stack[4 * PAGE_SIZE] __attribute__((aligned(16)));
struct table_register harmless_gdtr;
volatile uint32_t step_count;
static const struct row *current;
static struct outcome got;
static uint16_t flat_code, flat_data;

static int32_t system_call(uint32_t number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
	int32_t result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return result;
}

void put_char(char c)
{
	static char line[256];
	static unsigned length;

	line[length++] = c;
	if (c == '\n' || length == sizeof line) {
		system_call(SYS_WRITE, 1, (uintptr_t)line, length, 0);
		length = 0;
	}
}

static bool at_row_end(const struct sigcontext *context, uintptr_t linear)
{
	static const uint8_t end[] = { 0x0f, 0x0b, 'E', 'N', 'D', '.' }; /* ROW_END_CODE */
	const uint8_t *code = (const uint8_t *)linear;

	if (context->trapno != VECTOR_UD)
		return false;
	for (unsigned i = 0; i < sizeof end; i++)
		if (code[i] != end[i])
			return false;
	return true;
}

static void handler(int signal, void *info, struct ucontext *frame)
{
	struct sigcontext *context = &frame->context;
	uintptr_t linear = context->eip + ((uint16_t)context->cs == SEL_TEST ? (uintptr_t)current->test.base : 0);
	bool ended = at_row_end(context, linear);

	(void)signal, (void)info;
	if (context->trapno == VECTOR_DB && current->count_steps) {
		if (++step_count >= 4)
			context->eflags &= ~EFLAGS_TF;
		return;
	}
	got = (struct outcome){
		.kind = ended ? KIND_VALUE : KIND_FAULT,
		.vector = context->trapno,
		.code = ended ? context->eax : context->err,
		.cr2 = context->cr2,
		.linear = linear,
	};
	context->eip = (uintptr_t)row_left;
	context->cs = flat_code;
	context->ds = context->es = context->ss = flat_data;
	context->esp = row_caller_esp;
	context->eflags = EFLAGS_FIXED;
}

static int32_t set_ldt(unsigned entry, struct segment s)
{
	struct user_desc d = {
		.entry_number = entry,
		.base = (uintptr_t)s.base,
		.limit = s.limit,
		.seg_32bit = !!(s.flags & BITS32),
		.contents = s.access >> 2 & 3,
		.read_exec_only = !(s.access & 2),
		.limit_in_pages = !!(s.flags & GRANULAR),
		.seg_not_present = !(s.access & PRESENT),
	};

	/* Linux reads this, with everything else zero, as "clear the entry". */
	if (!s.access)
		d.read_exec_only = d.seg_not_present = 1;
	return system_call(SYS_MODIFY_LDT, 1, (uintptr_t)&d, sizeof d, 0);
}

static bool possible(struct segment s)
{
	uint8_t access = s.access;
	bool conforming = (access & CODE_CONFORMING_XR) == CODE_CONFORMING_XR;

	return !access || ((access & DATA_RO) && (access & DPL3) == DPL3 && !(conforming && access & PRESENT));
}

static const char *reason_to_skip(const struct row *row)
{
	if (!possible(row->test) || !possible(row->ldt_test))
		return "no such descriptor in a process's LDT";
	if (row->page[0] == PAGE_SUPERVISOR || row->page[1] == PAGE_SUPERVISOR)
		return "no such page in a process";
	return NULL;
}

static void protect(unsigned index, enum page_state state)
{
	static const int protections[] = {
		[PAGE_UNTOUCHED] = PROTECT_READ | PROTECT_WRITE,
		[PAGE_ABSENT] = PROTECT_NONE,
		[PAGE_READ_ONLY] = PROTECT_READ,
	};

	system_call(SYS_MPROTECT, (uintptr_t)scratch + index * PAGE_SIZE, PAGE_SIZE, protections[state], 0);
}

void fill_scratch(void)
{
	for (unsigned i = 0; i < sizeof scratch; i++)
		scratch[i] = i < PAGE_SIZE ? i : 0;
}

static void run(const struct row *row)
{
	set_ldt(SEL_TEST >> 3, row->test);
	set_ldt(SEL_LDT_TEST >> 3, row->ldt_test);
	fill_scratch();
	for (unsigned i = 0; i < 2; i++)
		protect(i, row->page[i]);
	step_count = 0;
	row_eflags = row->eflags | EFLAGS_FIXED;
	row_stack.selector = row->ss ? row->ss : flat_data;
	row_stack.offset = row->ss ? row->esp : (uintptr_t)row_stack_area + sizeof row_stack_area;
	row_entry.selector = row->cs ? row->cs : flat_code;
	row_entry.offset = (uintptr_t)row->code;
	current = row;
	enter_row();
	for (unsigned i = 0; i < 2; i++)
		protect(i, PAGE_UNTOUCHED);
	report_row(row, &got);
}

static void catch_signals(void)
{
	static const int signals[] = { SIGNAL_ILL, SIGNAL_TRAP, SIGNAL_BUS, SIGNAL_FPE, SIGNAL_SEGV };
	struct kernel_sigaction action = {
		.handler = handler,
		.flags = FLAG_SIGINFO | FLAG_RESTORER | FLAG_ONSTACK | FLAG_NODEFER,
		.restorer = signal_return,
	};
	struct sigaltstack stack = { .base = signal_stack, .size = sizeof signal_stack };

	system_call(SYS_SIGALTSTACK, (uintptr_t)&stack, 0, 0, 0);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		system_call(SYS_RT_SIGACTION, signals[i], (uintptr_t)&action, 0, sizeof action.mask);
}

int main(void)
{
	int32_t error = set_ldt(SEL_TEST >> 3, (struct segment){ 0 });

	if (error) {
		put_text("CANNOT|modify_ldt is not permitted here (error ");
		put_decimal(-error);
		put_text(")\n");
		return EXIT_CANNOT_RUN;
	}
	__asm__("movw %%cs,%0" : "=r"(flat_code));
	__asm__("movw %%ss,%0" : "=r"(flat_data));
	catch_signals();
	report_header("linux", __stop_row_table - __start_row_table);
	for (const struct row *const *row = __start_row_table; row < __stop_row_table; row++) {
		const char *reason = reason_to_skip(*row);

		if (reason)
			report_skipped(*row, reason);
		else
			run(*row);
	}
	report_end();
	return 0;
}
