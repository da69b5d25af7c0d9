/*
 * Times four ways into the operating system on the host's own processor, in TSC ticks:
 *   design-b   what a KLOS service call of Design B does: load DS and ES with the OS segment, call, load them back
 *   design-a   the same through the one trampoline of Design A: the service comes from a table, by its number
 *   syscall    a system call that does nothing, by SYSCALL
 *   int80      the same by a software interrupt
 * The last two contain the host kernel's own entry, exit and mitigations, and those of a hypervisor.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RUNS 11
#define CALLS 200000
#define INT80_GETPPID 64 /* the 32-bit number */
#define SELECTOR(entry) ((entry) << 3 | 7)
enum { ENTRY_OS = 5, ENTRY_APP = 6, EXIT_CANNOT_RUN = 77 };

static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n rdtsc\n lfence" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static long set_ldt(int entry, unsigned limit_in_pages)
{
	struct user_desc d;

	memset(&d, 0, sizeof d);
	d.entry_number = entry;
	d.limit = limit_in_pages;
	d.seg_32bit = 1;
	d.limit_in_pages = 1;
	d.useable = 1;
	return syscall(SYS_modify_ldt, 1, &d, sizeof d);
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

	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getppid) : "rcx", "r11", "memory");
}

static void by_int80(void)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(INT80_GETPPID)
			 : "r8", "r9", "r10", "r11", "memory");
}

/* The least of several runs: what disturbs a run can only add to it. */
static double least(void (*path)(void), int calls)
{
	double best = 0;

	for (int run = 0; run < RUNS; run++) {
		uint64_t begin = ticks();
		double mean;

		for (int i = 0; i < calls; i++)
			path();
		mean = (double)(ticks() - begin) / calls;
		if (run == 0 || mean < best)
			best = mean;
	}
	return best;
}

int main(void)
{
	if (set_ldt(ENTRY_OS, 0xfffff) || set_ldt(ENTRY_APP, 0xbffff)) {
		printf("CANNOT|modify_ldt is not permitted here\n");
		return EXIT_CANNOT_RUN;
	}
	printf("CYCLES|1|counter=tsc|meaning=ticks of the time-stamp counter, not core clock cycles|"
	       "runs=%d|statistic=least mean\n", RUNS);
	printf("PATH|design-b|%.1f\n", least(design_b, CALLS));
	printf("PATH|design-a|%.1f\n", least(design_a, CALLS));
	printf("PATH|syscall|%.1f\n", least(by_syscall, CALLS));
	printf("PATH|int80|%.1f\n", least(by_int80, CALLS / 10));
	printf("END\n");
	return 0;
}
