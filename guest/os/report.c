/* Runs the self-tests and the attacks, each as a process of its own, and keeps what they find out. */
#include "os.h"
#include "services.h"

#define MAX_REPORTS 48
#define PATIENCE 30 /* seconds of guest time for one row */

static struct klos_report selftests[MAX_REPORTS], attacks[MAX_REPORTS];
static struct klos_report *running;
static uint32_t running_pid;

void reports_start(void)
{
	klos_info.selftests.address = (uint32_t)selftests;
	klos_info.selftests.entry_size = sizeof(selftests[0]);
	klos_info.attacks.address = (uint32_t)attacks;
	klos_info.attacks.entry_size = sizeof(attacks[0]);
}

/* Only the process that is being waited for reports; its children and others are ignored. */
int do_report(uint32_t result, uint32_t held, const char *reason)
{
	if (!running || current_thread()->public.pid != running_pid)
		return ERROR_NOT_FOUND;
	if (result > KLOS_RESULT_NOT_ENFORCED || user_string(reason, running->reason, sizeof(running->reason)) < 0)
		return ERROR_ARGUMENT;
	running->result = result;
	running->held = held;
	return 0;
}

static void wait_for(struct process *process)
{
	uint32_t deadline = klos_info.tick_count + PATIENCE * klos_info.tick_rate;

	while (process->public.state != KLOS_STATE_ENDED && klos_info.tick_count < deadline) {
		thread_sleep_ticks(1);
		processes_collect();
	}
	if (process->public.state == KLOS_STATE_ENDED)
		return;
	process_end(process, 0, NO_VECTOR);
	format(running->reason, sizeof(running->reason), "did not end within %u s", PATIENCE);
	running->result = KLOS_RESULT_FAIL;
}

static const char *word(const struct klos_report *report)
{
	switch (report->result) {
	case KLOS_RESULT_PASS:
		return "PASS";
	case KLOS_RESULT_NOT_ENFORCED:
		return "NOT-ENFORCED";
	default:
		return "FAIL";
	}
}

/* A row's processes end with it. */
static void end_family(const char *name)
{
	for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
		struct process *process = &processes[i];
		if (process->public.state == KLOS_STATE_FREE || !string_equal(process->public.name, name))
			continue;
		if (process->public.state != KLOS_STATE_ENDED)
			process_end(process, 0, NO_VECTOR);
		process->public.parent = 0;
	}
}

/* One row, in a critical section of the system process. Nonzero where it fails. */
static int run_row(const struct klos_application *application, struct klos_report *report)
{
	struct process *process;
	int error;

	memset(report, 0, sizeof(*report));
	string_copy(report->name, application->name, sizeof(report->name));
	string_copy(report->claim, application->purpose, sizeof(report->claim));
	running = report;
	dsos_open_bare(string_equal(application->name, "alias-return"));
	comparison_open(string_equal(application->name, "sysexit-flat-ss"));
	process = process_create(application->name, "", klos_info.current_pid, &error);
	if (process) {
		running_pid = process->public.pid;
		wait_for(process);
	}
	if (report->result == KLOS_RESULT_NONE) {
		report->result = KLOS_RESULT_FAIL;
		if (process && process->public.end_vector != NO_VECTOR)
			format(report->reason, sizeof(report->reason), "ended by exception %u", process->public.end_vector);
		else
			format(report->reason, sizeof(report->reason), process ? "did not report" : "did not start");
	}
	end_family(application->name);
	running = 0;
	dsos_open_bare(0);
	comparison_open(0);
	processes_collect();
	print("%s %s: %s\n", word(report), report->name, report->reason);
	return report->result == KLOS_RESULT_FAIL;
}

/* The rows of a kind, or the one of that name. */
static uint32_t run_kind(uint32_t kind, const char *name, struct klos_report *reports, volatile struct klos_array *array)
{
	const struct klos_application *all = (const struct klos_application *)klos_info.applications.address;
	uint32_t failed = 0;

	array->count = 0;
	for (uint32_t i = 0; i < klos_info.applications.count && array->count < MAX_REPORTS; i++)
		if (all[i].kind == kind && (!*name || string_equal(all[i].name, name)))
			failed += (uint32_t)run_row(&all[i], &reports[array->count++]);
	return failed;
}

uint32_t run_attacks(const char *name)
{
	return run_kind(KLOS_APPLICATION_ATTACK, name, attacks, &klos_info.attacks);
}

/* All rows again and again for so many seconds, with DSOS moving and ordinary applications in between. */
uint32_t run_soak(uint32_t seconds)
{
	uint32_t deadline = klos_info.tick_count + seconds * klos_info.tick_rate, failed = 0;

	do {
		const struct process *touch, *count;
		uint32_t code;
		int error;
		touch = process_create("touch", "60", klos_info.current_pid, &error);
		failed += !touch || process_wait(touch->public.pid, &code) != 0;
		count = process_create("count", "", klos_info.current_pid, &error);
		failed += !count + run_selftests();
		end_family("count");
		processes_collect();
	} while (klos_info.tick_count < deadline);
	return failed;
}

uint32_t run_selftests(void)
{
	uint32_t failed = run_kind(KLOS_APPLICATION_SELFTEST, "", selftests, &klos_info.selftests);

	failed += run_attacks("");
	print("%u failures\n", failed);
	return failed;
}
