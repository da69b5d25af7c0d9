/* The system process: starts the first applications, frees what ended ones held, serves the mailbox. */
#include "os.h"

char run_option[64];

/* Nonzero where the processor enforces segment limits: read beyond DSAPP's and see. */
static int limits_enforced(void)
{
	uint32_t faulted;

	__asm__ volatile("mov %1, %%fs\n"
			 "1:\tmov %%fs:(%2), %0\n\t"
			 "mov $0, %0\n\t"
			 "jmp 3f\n"
			 "2:\tmov $1, %0\n"
			 "3:\tmov %3, %%fs\n\t"
			 ".pushsection .fixups, \"a\"\n\t"
			 ".long 1b, 2b\n\t"
			 ".popsection"
			 : "=&r"(faulted) : "r"(DSAPP), "r"(&klos_info), "r"(0) : "memory");
	return (int)faulted;
}

/* Nonzero where the processor refuses WBINVD in ring 3, which nothing that an OS sets could permit. */
static int wbinvd_refused(void)
{
	uint32_t faulted;

	__asm__ volatile("1:\twbinvd\n\t"
			 "mov $0, %0\n\t"
			 "jmp 3f\n"
			 "2:\tmov $1, %0\n"
			 "3:\n\t"
			 ".pushsection .fixups, \"a\"\n\t"
			 ".long 1b, 2b\n\t"
			 ".popsection"
			 : "=r"(faulted) : : "memory");
	return (int)faulted;
}

static void start(const char *name, const char *arguments)
{
	int error;

	critical_enter();
	if (!process_create(name, arguments, klos_info.current_pid, &error))
		print("system: cannot start %s: error %d\n", name, error);
	critical_leave();
}

/* Executed once, in ring 3, when everything stands. A place to stop at. */
__attribute__((noinline)) void klos_ready(void)
{
	klos_info.flags |= KLOS_FLAG_READY;
	__asm__ volatile("");
}

static void wait_for_work(void)
{
	critical_enter();
	WAIT_UNTIL(processes_collect() || mailbox_serve(), KLOS_WAIT_EVENT, 0);
	critical_leave();
}

void system_main(void)
{
	if (limits_enforced())
		klos_info.flags |= KLOS_FLAG_ENFORCED;
	if (wbinvd_refused())
		klos_info.flags |= KLOS_FLAG_WBINVD_REFUSED;
	print("KLOS: %u MiB, seed %u%s\n", klos_info.physical_size >> 20, klos_info.seed,
	      klos_info.flags & KLOS_FLAG_SEED_FIXED ? " (fixed)" : "");
	print("segment limits: %s by this processor\n",
	      klos_info.flags & KLOS_FLAG_ENFORCED ? "enforced" : "not enforced");
	print("wbinvd in ring 3: %s by this processor\n", klos_info.flags & KLOS_FLAG_WBINVD_REFUSED ? "refused" : "not refused");
	start("ping", "");
	start("pong", "");
	klos_ready();
	critical_enter();
	mailbox_order(run_option);
	critical_leave();
	orders_done();
	for (;;)
		wait_for_work();
}
