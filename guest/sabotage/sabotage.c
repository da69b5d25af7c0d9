/*
 * `make BREAK=row` links this file in: it gets between the parts of the OS (ld --wrap) and spoils what that row tests, for the
 * processes of that row alone. A self-test that still passes then is none.
 */
#include "os.h"
#include "services.h"

#define WRAP(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

static const struct {
	const char *row, *spoiled;
} plan[] = {
	{ "recover", "deliver" },
	{ "handler-chain", "deliver" },
	{ "single-step", "deliver" },
	{ "unhandled-fault", "end" },
	{ "ports-closed", "close" },
	{ "nesting", "nest" },
	{ "relocation", "count" },
	{ "relocation-threads", "count" },
	{ "design-b", "copy" },
	{ "design-a", "number" },
	{ "wild-pointer", "check" },
	{ "create", "code" },
	{ "preemption", "thread" },
	{ "sleep", "sleep" },
	{ "messages", "text" },
	{ "queue-full", "full" },
	{ "shared-memory", "share" },
	{ "heap", "unmap" },
	{ "out-of-frames", "error" },
	{ "out-of-processes", "error" },
	{ "random", "random" },
	{ "guess", "count" },
	{ "guess-ss", "count" },
	{ "guess-threads", "count" },
	{ "lar-scan", "rest" },
	{ "step-prologue", "step" },
	{ "prologue-middle", "end" },
	{ "dsapp-read", "protect" },
	{ "dsapp-write", "protect" },
	{ "stack-beyond", "protect" },
	{ "cs-override-read", "protect" },
	{ "cs-override-write", "protect" },
	{ "bitmap-write", "protect" },
	{ "table-write", "protect" },
	{ "sysexit-flat-ss", "protect" },
	{ "port-io", "ports" },
	{ "privileged", "permit" },
	{ "forged-events", "event" },
	{ "gate", "gate" },
	{ "gate-nt", "gate" },
	{ "gate-tf", "gate" },
	{ "gate-if", "gate" },
	{ "nt-iret", "deliver" },
	{ "alias-return", "bare" },
	{ "alias-return-own", "copy" },
	{ "alias-return-thread", "thread" },
};

static int planned(const char *what)
{
	for (uint32_t i = 0; i < sizeof(plan) / sizeof(plan[0]); i++)
		if (string_equal(plan[i].row, BREAK_ROW))
			return string_equal(plan[i].spoiled, what);
	return 0;
}

/* Is this to be spoiled, for the process that runs? */
static int spoiled(const char *what)
{
	const struct thread *thread = current_thread();

	return thread && string_equal(thread->process->public.name, BREAK_ROW) && planned(what);
}

WRAP(int, exception_deliver, struct klos_frame *frame)
{
	return spoiled("deliver") || spoiled("protect") ? 0 : __real_exception_deliver(frame);
}

WRAP(void, process_end, struct process *process, uint32_t code, uint32_t vector)
{
	__real_process_end(process, code, spoiled("end") || spoiled("protect") ? NO_VECTOR : vector);
}

WRAP(int, do_enforced, uint32_t flag)
{
	return spoiled("protect") ? 1 : __real_do_enforced(flag);
}

WRAP(void, io_close, uint16_t port, uint32_t count, uint32_t before)
{
	__real_io_close(port, count, spoiled("close") ? 0 : before);
}

static void nothing(struct klos_frame *frame)
{
	frame->eax = 0;
}

WRAP(void, event_run, struct klos_frame *frame, handler *body)
{
	int nest = frame->vector == VECTOR_TRAP && spoiled("nest");
	int gate = frame->origin == KLOS_ORIGIN_GATE && spoiled("gate");

	if (spoiled("rest"))
		dsos_relocate(frame, KLOS_CAUSE_MAILBOX);
	__real_event_run(frame, nest || gate ? nothing : body);
	if (spoiled("permit"))
		frame->eflags |= EFLAGS_IOPL;
}

WRAP(void, dsos_absent, struct klos_frame *frame)
{
	if (!spoiled("count"))
		__real_dsos_absent(frame);
}

WRAP(int, do_copy, void *to, const void *from, uint32_t size)
{
	return __real_do_copy((uint8_t *)to + (spoiled("copy") ? 4 : 0), from, size);
}

WRAP(int, do_bad_service, void)
{
	return spoiled("number") ? 0 : __real_do_bad_service();
}

WRAP(int, user_readable, const void *address, uint32_t size)
{
	return spoiled("check") || __real_user_readable(address, size);
}

WRAP(int, user_writable, void *address, uint32_t size)
{
	return spoiled("check") || __real_user_writable(address, size);
}

WRAP(int, do_thread_exit, uint32_t code)
{
	return __real_do_thread_exit(spoiled("code") ? code + 1 : code);
}

WRAP(int, do_thread_create, uint32_t entry, uint32_t argument)
{
	return spoiled("thread") ? ERROR_FULL : __real_do_thread_create(entry, argument);
}

WRAP(int, do_sleep, uint32_t ticks)
{
	return spoiled("sleep") ? 0 : __real_do_sleep(ticks);
}

WRAP(int, message_send, uint32_t pid, const void *text, uint32_t length)
{
	static const uint8_t zeros[MESSAGE_SIZE];
	int result = __real_message_send(pid, spoiled("text") ? zeros : text, length);

	return result == ERROR_FULL && spoiled("full") ? ERROR_EMPTY : result;
}

WRAP(int, shared_map, uint32_t key)
{
	struct process *process = current_thread()->process;
	int address = __real_shared_map(key);

	if (address > 0 && spoiled("share"))
		page_map(process, (uint32_t)address, frame_allocate((uint16_t)process->public.pid), PTE_WRITABLE);
	return address;
}

WRAP(void, pages_free, struct process *process, uint32_t linear, uint32_t count)
{
	if (!spoiled("unmap"))
		__real_pages_free(process, linear, count);
}

WRAP(int, do_process_create, const char *name, const char *arguments)
{
	int result = __real_do_process_create(name, arguments);

	return result < 0 && spoiled("error") ? ERROR_NOT_FOUND : result;
}

WRAP(int, do_random, void)
{
	return spoiled("random") ? 5 : __real_do_random();
}

WRAP(int, in_os_code, const struct klos_frame *frame)
{
	return spoiled("step") && frame->vector == VECTOR_DB ? 0 : __real_in_os_code(frame);
}

WRAP(int, directory_create, struct process *process)
{
	int result = __real_directory_create(process);

	if (!result && planned("ports") && string_equal(process->public.name, BREAK_ROW))
		for (int i = 0; i < 2; i++)
			memset(physical_to_os(process->public.iomap_frames[i]), 0, PAGE_SIZE);
	return result;
}

void __real_tables_build(void);
void __wrap_tables_build(void);
void __wrap_tables_build(void)
{
	__real_tables_build();
	if (planned("event"))
		((struct gate *)klos_info.idt)[255].access = ACCESS_INTERRUPT_GATE3;
}

WRAP(void, dsos_open_bare, int open)
{
	__real_dsos_open_bare(open && !planned("bare"));
}
