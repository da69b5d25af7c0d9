/* Attacks on the secret: guess DSOS (paper, 2.3.3), find it, steal it from a prologue (paper, 2.3.1). */
#include "test.h"
#include "selectors.h"

#define GUESSES 150

/* A hit faults nowhere; the next event, the fault of the next guess, finds it out. */
static int guess_with(void (*load)(void *), int vector)
{
	for (uint32_t i = 0; i < GUESSES; i++) {
		uint32_t selector = ((uint32_t)service_random() & SELECTOR_MASK) | 3;
		if (selector >> 3 < GDT_FIRST_FREE && !(selector & 4))
			continue;
		int seen = fault_of(load, (void *)selector);
		if (seen != vector && seen != NO_FAULT)
			return 1;
	}
	return 0;
}

static int judge_guesses(const char *how, int relocations)
{
	uint32_t code;
	int end = run_self("child", &code);

	relocations = service_relocations() - relocations;
	CHECK(end == ENDED_BY(VECTOR_GP) || (end == 0 && code == 0));
	if (end)
		return pass("%s: hit, and ended at the next event; the system held", how);
	CHECK(relocations >= GUESSES / 3 - 8);
	return pass("%s: no hit, DSOS moved %d times; the system held", how, relocations);
}

ATTACK(guess, "guess", "a wrong guess raises #NP, and every third moves DSOS (2.3.3)")
{
	return has_argument("child") ? guess_with(load_fs, 11) : judge_guesses("150 guesses", service_relocations());
}

ATTACK(guess_ss, "guess-ss", "a wrong guess with SS raises #SS, which counts as well")
{
	return has_argument("child") ? guess_with(load_ss, 12) : judge_guesses("150 guesses", service_relocations());
}

static volatile uint32_t threads_done;

/* One handler for all threads: behind the load (two bytes), whichever thread it was. */
static int skip(struct exception *exception)
{
	exception->context.eip += 2;
	return exception->vector == 11 ? EXCEPTION_CONTINUE : EXCEPTION_SEARCH;
}

static int guess_in_thread(void *unused)
{
	(void)unused;
	for (uint32_t i = 0; i < GUESSES / 3; i++)
		__asm__ volatile("mov %0, %%fs" : : "r"(absent_selector()));
	threads_done++;
	return 0;
}

ATTACK(guess_threads, "guess-threads", "several threads that guess share one count of faults")
{
	struct exception_registration registration = { 0, skip };

	if (!has_argument("child"))
		return judge_guesses("3 threads", service_relocations());
	service_exception_set(&registration);
	for (int i = 0; i < 3; i++)
		if (service_thread_create(guess_in_thread, 0) < 0)
			return 1;
	while (threads_done < 3)
		service_sleep(1);
	return 0;
}

/* Load a selector, read through it how long the OS's self-description is, and forget the selector. */
static uint32_t read_size(uint32_t selector)
{
	uint32_t word;

	__asm__ volatile("mov %1, %%fs\n\tmov %%fs:(%2), %0\n\tmov %3, %%fs"
			 : "=&r"(word) : "r"(selector), "r"(&klos_info.size), "r"(0));
	return word;
}

ATTACK(lar_scan, "lar-scan", "overlooked by the paper: LAR tells present slots and never faults")
{
	int absent = service_absent_loads(), relocations = service_relocations(), end;
	uint32_t code;

	if (has_argument("child"))
		return read_size(find_dsos()) == sizeof(klos_info);
	end = run_self("child", &code);
	CHECK(end == 0 && code == 1);
	CHECK(service_absent_loads() == absent && service_relocations() == relocations);
	return broke("DSOS found and used with 0 faults, never moved: the system did not hold");
}

static int seen_in_os, seen_dsos, steps;

static int watch_step(struct exception *exception)
{
	uint32_t rights, limit, eax = exception->context.eax;

	steps++;
	seen_in_os |= exception->context.eip >= APP_TOP;
	seen_dsos |= eax != DSAPP && (eax & 3) == 3 && eax < 0x10000 && query_rights(eax, &rights) && (rights & 0x8000) &&
		     query_limit(eax, &limit) && limit == 0xFFFFFFFF;
	return EXCEPTION_CONTINUE;
}

extern void step_through(int (*service)(void));

ATTACK(step_prologue, "step-prologue", "single-stepping a prologue would show DSOS in EAX")
{
	struct exception_registration registration = { 0, watch_step };

	service_exception_set(&registration);
	step_through(service_null);
	service_exception_set(0);
	CHECK(steps > 0);
	CHECK(!seen_in_os && !seen_dsos);
	return pass("%d steps, none in OS code; the system held", steps);
}

extern void jump_with(uint32_t eax, uint32_t address);

ATTACK(prologue_middle, "prologue-middle", "a jump behind a prologue's first instruction brings no DSOS (2.3.1)")
{
	uint32_t middle = (uint32_t)service_null + 5, code;
	int end;

	if (has_argument("dsapp")) {
		jump_with(DSAPP, middle);
		return 0;
	}
	if (has_argument("guess")) {
		jump_with(absent_selector(), middle);
		return 0;
	}
	CHECK(run_self("guess", &code) == ENDED_BY(11));
	end = run_self("dsapp", &code);
	if (end == ENDED_BY(VECTOR_GP))
		return pass("#NP with a guess, #GP with DSAPP: ended; the system held");
	if (end == 0 && !service_enforced(KLOS_FLAG_ENFORCED))
		return not_enforced("with DSAPP the service ran: this processor checks no limits");
	return fail("ended by %x", (uint32_t)end);
}
