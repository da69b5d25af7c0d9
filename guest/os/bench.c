/* Figure 4 (paper, 3): opens the paths that are compared, runs the benchmark application, and keeps its rows. */
#include "os.h"
#include "services.h"

#define MAX_ROWS 16

extern uint32_t core_sysenter_cs;

static struct klos_bench rows[MAX_ROWS];
static uint32_t bench_pid;

void comparison_open(int open)
{
	struct gate *gate = (struct gate *)klos_info.idt + VECTOR_COMPARISON;

	gate->access = open ? ACCESS_INTERRUPT_GATE3 : ACCESS_INTERRUPT_GATE0;
	core_sysenter_cs = open ? CORE_CODE : 0;
	if (klos_info.flags & KLOS_FLAG_SYSENTER)
		commit(KLOS_REQUEST_SYSENTER);
}

int do_bench_row(const struct klos_bench *row)
{
	if (!user_readable(row, sizeof(*row)))
		return ERROR_POINTER;
	if (current_thread()->public.pid != bench_pid || klos_info.bench.count == MAX_ROWS)
		return ERROR_FULL;
	rows[klos_info.bench.count] = *row;
	klos_info.bench.count++;
	return 0;
}

int do_flush_caches(void)
{
	if (current_thread()->public.pid != bench_pid)
		return ERROR_NOT_FOUND;
	commit(KLOS_REQUEST_CACHES);
	return 0;
}

/* In a critical section of the system process. Returns the number of rows. */
uint32_t run_bench(void)
{
	struct process *process;
	uint32_t code;
	int error;

	klos_info.bench.address = (uint32_t)rows;
	klos_info.bench.entry_size = sizeof(rows[0]);
	klos_info.bench.count = 0;
	dsos_open_bare(1);
	comparison_open(1);
	process = process_create("bench", klos_info.flags & KLOS_FLAG_SYSENTER ? "sysenter" : "", klos_info.current_pid, &error);
	if (process) {
		bench_pid = process->public.pid;
		process_wait(bench_pid, &code);
	}
	bench_pid = 0;
	comparison_open(0);
	dsos_open_bare(0);
	return klos_info.bench.count;
}
