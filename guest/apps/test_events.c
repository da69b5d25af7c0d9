/* Self-tests: nested events (paper, 2.1), ports (paper, 2.3.2), exceptions and relocation (paper, 2.3.3). */
#include "test.h"
#include "selectors.h"

extern char single_step_code[];

static void divide_by_zero(void *unused)
{
	(void)unused;
	__asm__ volatile("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tmov $1, %%eax\n\tdiv %%ecx" : : : "eax", "ecx", "edx");
}

static void read_word(void *address)
{
	(void)*(volatile uint32_t *)address;
}

static void write_word(void *address)
{
	*(volatile uint32_t *)address = 0;
}

static void jump(void *address)
{
	((void (*)(void))address)();
}

SELFTEST(recover, "recover", "an application's handler sees a fault and goes on elsewhere")
{
	struct guard guard;

	CHECK(fault_of(divide_by_zero, 0) == 0);
	CHECK(guarded(&guard, read_word, (void *)0x70000010) == 14);
	CHECK(guard.seen.address == 0x70000010 && guard.seen.error_code == 4);
	CHECK(guarded(&guard, write_word, (void *)APP_BASE) == 14 && guard.seen.error_code == 7);
	CHECK(service_faults() == 3);
	return pass("division, absent page, read-only page");
}

static uint32_t repaired;

static int repair(struct exception *exception)
{
	repaired++;
	exception->context.ecx = 1;
	return EXCEPTION_CONTINUE;
}

static int pass_on(struct exception *exception)
{
	repaired += exception->vector == 0 ? 16 : 0;
	return EXCEPTION_SEARCH;
}

SELFTEST(handler_chain, "handler-chain", "handlers pass an exception on along the chain; one repairs the context")
{
	struct exception_registration outer = { 0, repair }, inner = { &outer, pass_on };

	service_exception_set(&inner);
	divide_by_zero(0);
	service_exception_set(0);
	CHECK(repaired == 17);
	return pass("inner passed on, outer repaired");
}

SELFTEST(unhandled, "unhandled-fault", "a fault that nobody handles ends the process, and nothing else notices")
{
	uint32_t code;

	if (has_argument("divide"))
		divide_by_zero(0);
	if (has_argument("overrun"))
		for (volatile uint32_t *word = (volatile uint32_t *)&code;; word -= 64)
			*word = 1;
	if (has_argument("nowhere"))
		jump((void *)0x7000000);
	CHECK(run_self("divide", &code) == ENDED_BY(0));
	CHECK(run_self("overrun", &code) == ENDED_BY(14));
	CHECK(run_self("nowhere", &code) == ENDED_BY(14));
	return pass("division, stack overrun, jump to nowhere");
}

static void read_port(void *port)
{
	__asm__ volatile("inb %%dx, %%al" : : "d"(port) : "eax");
}

/* Ports that drivers use a moment before and after, and the last one. */
SELFTEST(ports_closed, "ports-closed", "drivers take their ports through the bitmap and give them back")
{
	static const uint16_t ports[] = { 0xE9, 0x3F8, 0x3FD, 0x60, 0x40, 0x43, 0x70, 0x71, 0xFFFF };
	struct guard guard;

	service_serial_write(" ", 1);
	CHECK(service_clock() >= 0 && service_serial_read() < 0 && service_key_read() < 0);
	for (uint32_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		CHECK(guarded(&guard, read_port, (void *)(uint32_t)ports[i]) == 13);
		CHECK(guard.seen.error_code == 0);
	}
	return pass("9 ports, each #GP(0)");
}

SELFTEST(nesting, "nesting", "an event is handled while another is")
{
	uint32_t depth;

	__asm__ volatile("int %1" : "=a"(depth) : "i"(VECTOR_TRAP), "a"(0));
	CHECK(depth == 2);
	return pass("depth 2, and back");
}

SELFTEST(single_step, "single-step", "an application steps through its own code")
{
	struct guard guard;
	uint32_t eflags;

	__asm__ volatile("pushf\n\tpop %0" : "=r"(eflags));
	CHECK(!(eflags & 0x100));
	CHECK(guarded(&guard, jump, (void *)single_step_code) == 1);
	CHECK(guard.seen.context.eip > (uint32_t)single_step_code && guard.seen.context.eip < (uint32_t)single_step_code + 16);
	return pass("#DB after the instruction that follows popf");
}

SELFTEST(relocation, "relocation", "the third absent selector moves DSOS, and services go on working")
{
	int before = service_relocations(), absent = service_absent_loads();

	for (int i = 0; i < 9; i++)
		CHECK(fault_of(load_fs, (void *)absent_selector()) == 11);
	CHECK(service_absent_loads() == absent + 9);
	CHECK(service_relocations() == before + 3);
	CHECK(fault_of(load_ss, (void *)absent_selector()) == 12);
	CHECK(service_absent_loads() == absent + 10);
	CHECK(service_null() == 0 && service_trampoline(0) == 0);
	return pass("9 loads, 3 moves; a load of SS counts too");
}

static volatile uint32_t calls, calls_stop;

static int call_services(void *unused)
{
	(void)unused;
	while (!calls_stop) {
		service_null();
		service_trampoline(2);
		calls++;
	}
	return 0;
}

SELFTEST(relocation_threads, "relocation-threads", "DSOS moves while threads are inside prologues and services")
{
	int before = service_relocations();

	CHECK(service_thread_create(call_services, 0) > 0);
	CHECK(service_thread_create(call_services, 0) > 0);
	for (int i = 0; i < 60; i++) {
		CHECK(fault_of(load_fs, (void *)absent_selector()) == 11);
		if (i % 3 == 0)
			service_sleep(1);
	}
	calls_stop = 1;
	service_sleep(4);
	CHECK(service_process_threads() == 1);
	CHECK(service_relocations() >= before + 20);
	CHECK(calls > 0);
	return pass("20 moves, no thread lost");
}
