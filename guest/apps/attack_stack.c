/* Attacks on services that run on the caller's stack (paper, 2.4), and the same on those that do not. */
#include "test.h"

extern int service_bare_copy(void *to, const void *from, uint32_t size);
extern int alias_return(int (*copy)(void *, const void *, uint32_t), uint32_t *data_segment);

static int is_dsos(uint32_t selector)
{
	return selector != DSAPP && selector > 3;
}

#define TRIES 20

/* An event at the one instruction of the application that runs with DSOS ends the child: it plays once more. */
static int play_uncaught(uint32_t *code)
{
	int end;

	for (int i = 0; i < TRIES; i++) {
		end = run_self("child", code);
		if (end != ENDED_BY(VECTOR_GP))
			break;
	}
	return end;
}

/* The paper's prologue leaves the service on the caller's stack, so a pointer can alias the service's return address. */
ATTACK(alias_return_row, "alias-return", "overlooked by the paper: a service's store may hit its return address")
{
	uint32_t data_segment = DSAPP, code;

	if (has_argument("child"))
		return alias_return(service_bare_copy, &data_segment) && is_dsos(data_segment);
	CHECK(play_uncaught(&code) == 0);
	CHECK(code == 1);
	return broke("paper's prologue: application code ran with DS = DSOS; KLOS's own switches stacks");
}

ATTACK(alias_return_own, "alias-return-own", "services on a stack of their own have no return address to hit")
{
	uint32_t data_segment = DSAPP;

	CHECK(alias_return(service_copy, &data_segment) == 0);
	return pass("the store hit nothing of the service's; the system held");
}

static uint32_t *volatile target;
static volatile uint32_t overwrites, seen_segment;

static void reached_by_return(void)
{
	uint32_t segment;

	__asm__ volatile("mov %%ds, %0" : "=r"(segment));
	seen_segment = segment;
	service_thread_exit(0);
}

static int overwrite(void *unused)
{
	(void)unused;
	while (!target)
		;
	for (uint32_t i = 0; i < 2000000 && !seen_segment; i++, overwrites++)
		*target = (uint32_t)reached_by_return;
	return 0;
}

static int call_in_loop(void *unused)
{
	(void)unused;
	target = (uint32_t *)__builtin_frame_address(0) - 16;
	for (uint32_t i = 0; i < 3000 && !seen_segment; i++)
		service_yield();
	return 0;
}

ATTACK(alias_return_thread, "alias-return-thread", "a second thread overwrites the caller's stack during a service")
{
	CHECK(service_thread_create(overwrite, 0) > 0);
	CHECK(service_thread_create(call_in_loop, 0) > 0);
	while (service_process_threads() > 1)
		service_sleep(1);
	CHECK(overwrites > 0);
	CHECK(!is_dsos(seen_segment));
	return pass("no return with DSOS; the system held");
}

static void call_by_sysenter(void *unused)
{
	(void)unused;
	__asm__ volatile("call service_sysenter" : : "a"(0) : "ecx", "edx", "memory");
}

static void read_through_ss(void *address)
{
	call_by_sysenter(0);
	__asm__ volatile("mov %%ss:(%0), %%eax" : : "r"(address) : "eax");
}

ATTACK(sysexit_flat_ss, "sysexit-flat-ss", "SYSEXIT caches a flat SS whatever the descriptor says")
{
	int vector = fault_of(call_by_sysenter, 0);

	if (vector != NO_FAULT)
		return pass("this processor has no SYSENTER: exception %d; the system held", vector);
	vector = fault_of(read_through_ss, (void *)&klos_info);
	if (vector == VECTOR_SS)
		return pass("the OS loads SS anew: #SS past its limit; the system held");
	if (vector == NO_FAULT && !service_enforced(KLOS_FLAG_ENFORCED))
		return not_enforced("a read through SS passed: this processor checks no limits");
	return fail("a read through SS after SYSEXIT: exception %d, wanted 12", vector);
}
