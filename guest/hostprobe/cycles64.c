/*
 * Times four ways into the operating system on the host's own processor (paper, 3), in TSC ticks:
 *   design-b   what a KLOS service call of Design B does: load DS and ES with the OS segment, call, load them back
 *   design-a   the same through the one trampoline of Design A: the service comes from a table, by its number
 *   syscall    a system call that does nothing, by SYSCALL
 *   int80      the same by a software interrupt
 * The last two contain the host kernel's own entry, exit and mitigations, and those of a hypervisor.
 */
#include "ldt.h"
#include "text.h"

#define RUNS 11
#define CALLS 200000
#define INT80_GETPPID 64 /* the 32-bit number */
#define SELECTOR(entry) ((entry) << 3 | 7)
enum { SYS_WRITE = 1, SYS_GETPPID = 110, SYS_MODIFY_LDT = 154 };
enum { ENTRY_OS = 5, ENTRY_APP = 6, EXIT_CANNOT_RUN = 77 };

int main(void);

static long system_call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

void put_char(char c)
{
	static char line[256];
	static unsigned length;

	line[length++] = c;
	if (c == '\n' || length == sizeof line) {
		system_call(SYS_WRITE, 1, (uintptr_t)line, length);
		length = 0;
	}
}

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n rdtsc\n lfence" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static long set_ldt(int entry, unsigned limit_in_pages)
{
	struct user_desc d = {
		.entry_number = entry,
		.limit = limit_in_pages,
		.seg_32bit = 1,
		.limit_in_pages = 1,
		.useable = 1,
	};

	return system_call(SYS_MODIFY_LDT, 1, (uintptr_t)&d, sizeof d);
}

static void design_b(void)
{
	/* Past the red zone: the call pushes a return address. */
	__asm__ volatile("sub $128,%%rsp\n"
			 "mov %0,%%ds\n mov %0,%%es\n"
			 "call 1f\n jmp 2f\n"
			 "1: ret\n"
			 "2: mov %1,%%ds\n mov %1,%%es\n"
			 "add $128,%%rsp"
			 ::"r"(SELECTOR(ENTRY_OS)), "r"(SELECTOR(ENTRY_APP)) : "memory", "cc");
}

static void empty_service(void)
{
}

static void (*const services[])(void) = { empty_service };

static void design_a(void)
{
	__asm__ volatile("sub $128,%%rsp\n"
			 "call 1f\n jmp 2f\n"
			 "1: mov %0,%%ds\n mov %0,%%es\n"
			 "call *(%2,%3,8)\n"
			 "mov %1,%%ds\n mov %1,%%es\n"
			 "ret\n"
			 "2: add $128,%%rsp"
			 ::"b"(SELECTOR(ENTRY_OS)), "S"(SELECTOR(ENTRY_APP)), "D"(services), "c"(0L)
			 : "rax", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void by_syscall(void)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_GETPPID) : "rcx", "r11", "memory");
}

static void by_int80(void)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(INT80_GETPPID)
			 : "r8", "r9", "r10", "r11", "memory");
}

/* The least mean of several runs, in tenths of a tick: what disturbs a run can only add to it. */
static uint32_t least(void (*path)(void), uint32_t calls)
{
	uint64_t best = UINT64_MAX;

	for (int run = 0; run < RUNS; run++) {
		uint64_t taken, begin = ticks();

		for (uint32_t i = 0; i < calls; i++)
			path();
		taken = ticks() - begin;
		if (taken < best)
			best = taken;
	}
	return (best * 10 + calls / 2) / calls;
}

static void report(const char *name, uint32_t tenths)
{
	put_text("PATH|");
	put_text(name);
	put_char('|');
	put_decimal(tenths / 10);
	put_char('.');
	put_decimal(tenths % 10);
	put_char('\n');
}

int main(void)
{
	if (set_ldt(ENTRY_OS, 0xfffff) || set_ldt(ENTRY_APP, 0xbffff)) {
		put_text("CANNOT|modify_ldt is not permitted here\n");
		return EXIT_CANNOT_RUN;
	}
	put_text("CYCLES|1|counter=tsc|meaning=ticks of the time-stamp counter, not core clock cycles|runs=");
	put_decimal(RUNS);
	put_text("|statistic=least mean|build=");
	put_text(BUILD_ID);
	put_char('\n');
	report("design-b", least(design_b, CALLS));
	report("design-a", least(design_a, CALLS));
	report("syscall", least(by_syscall, CALLS));
	report("int80", least(by_int80, CALLS / 10));
	put_text("END\n");
	return 0;
}
