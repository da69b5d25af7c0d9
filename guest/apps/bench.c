/*
 * Figure 4 (paper, 3): an empty service through each mechanism. Best: one service, again and again. Average: each of 50 in
 * turn. Worst: with the caches flushed before each call. One call is measured at a time, and the median taken.
 */
#include "test.h"

#define RUNS 500
#define SLOW_RUNS 50

extern char service_bare_0[];

/* Time what stands between two readings of the time stamp counter. EAX: number of the service; ECX as well. */
#define MEASURE(name, path) \
	static uint32_t name(uint32_t number) \
	{ \
		uint32_t start, end; \
		__asm__ volatile("rdtsc\n\tmov %%eax, %%esi\n\tmov %2, %%eax\n\tmov %2, %%ecx\n\t" path "rdtsc" \
				 : "=&S"(start), "=&a"(end) : "D"(number) : "ecx", "edx", "memory"); \
		return end - start; \
	}

MEASURE(time_nothing, "")
MEASURE(time_trap, "int $" TEXT(VECTOR_COMPARISON) "\n\t")
MEASURE(time_sysenter, "call service_sysenter\n\t")
MEASURE(time_design_a, "call service_bare_trampoline\n\t")

/* Design B's address belongs to the service, so the call is direct: EDI holds it, and costs what EAX and ECX do. */
static uint32_t time_design_b(uint32_t address)
{
	uint32_t start, end;

	__asm__ volatile("rdtsc\n\tmov %%eax, %%esi\n\tmov %2, %%eax\n\tmov %2, %%ecx\n\tcall *%2\n\trdtsc"
			 : "=&S"(start), "=&a"(end) : "D"(address) : "ecx", "edx", "memory");
	return end - start;
}

static void sort(uint32_t *values, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		uint32_t value = values[i], at = i;
		for (; at && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

static uint32_t median_of_nothing(uint32_t *values)
{
	for (uint32_t i = 0; i < RUNS; i++)
		values[i] = time_nothing(0);
	sort(values, RUNS);
	return values[RUNS / 2];
}

enum situation { BEST, AVERAGE, WORST };

static void measure(const char *mechanism, uint32_t (*time)(uint32_t), const uint32_t *addresses, enum situation situation)
{
	static const char *const names[] = { "best", "average", "worst" };
	static uint32_t values[RUNS];
	uint32_t runs = situation == WORST ? SLOW_RUNS : RUNS, overhead = median_of_nothing(values), sum = 0;
	struct klos_bench row = { .runs = runs, .overhead = overhead };

	for (uint32_t i = 0; i < runs; i++) {
		uint32_t number = situation == BEST ? 0 : i % COMPARISON_SERVICES;
		uint32_t argument = addresses ? addresses[number] : number;
		if (situation == WORST)
			service_flush_caches();
		uint32_t taken = time(argument);
		values[i] = taken > overhead ? taken - overhead : 0;
		sum += values[i];
	}
	sort(values, runs);
	string_copy(row.mechanism, mechanism, sizeof(row.mechanism));
	string_copy(row.situation, names[situation], sizeof(row.situation));
	row.minimum = values[0];
	row.median = values[runs / 2];
	row.mean = sum / runs;
	row.maximum = values[runs - 1];
	service_bench_row(&row);
}

APPLICATION(bench, ORDINARY, "bench", "figure 4 of the paper")
{
	uint32_t addresses[COMPARISON_SERVICES];

	for (uint32_t i = 0; i < COMPARISON_SERVICES; i++)
		addresses[i] = (uint32_t)service_bare_0 + i * PAGE_SIZE;
	for (enum situation situation = BEST; situation <= WORST; situation++) {
		measure("trap", time_trap, 0, situation);
		if (has_argument("sysenter"))
			measure("sysenter", time_sysenter, 0, situation);
		measure("design_a", time_design_a, 0, situation);
		measure("design_b", time_design_b, addresses, situation);
	}
	return 0;
}
