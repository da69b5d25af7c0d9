/* What applications share. */
#include "test.h"

extern char guard_landing[];

void say(const char *pattern, ...)
{
	char line[160];
	va_list arguments;
	int length;

	va_start(arguments, pattern);
	length = format_arguments(line, sizeof(line), pattern, arguments);
	va_end(arguments);
	service_print(line, (uint32_t)length);
}

static int land(struct exception *exception)
{
	struct guard *guard = (struct guard *)exception->registration;

	memcpy(&guard->seen, exception, sizeof(*exception));
	exception->context.eip = (uint32_t)guard_landing;
	exception->context.esp = guard->esp;
	exception->context.ebp = guard->ebp;
	exception->context.ebx = (uint32_t)guard;
	exception->context.eax = exception->vector;
	exception->context.eflags = 0x202;
	return EXCEPTION_CONTINUE;
}

void guard_enter(struct guard *guard)
{
	guard->registration.next = service_exception_get();
	guard->registration.handler = land;
	service_exception_set(&guard->registration);
}

void guard_leave(struct guard *guard)
{
	service_exception_set(guard->registration.next);
}

int fault_of(void (*function)(void *), void *argument)
{
	struct guard guard;

	return guarded(&guard, function, argument);
}

static int verdict(uint32_t result, uint32_t held, const char *pattern, va_list arguments)
{
	char reason[120];

	format_arguments(reason, sizeof(reason), pattern, arguments);
	service_report(result, held, reason);
	return result == KLOS_RESULT_FAIL;
}

#define VERDICT(name, result, held) \
	int name(const char *reason, ...) \
	{ \
		va_list arguments; \
		int code; \
		va_start(arguments, reason); \
		code = verdict(result, held, reason, arguments); \
		va_end(arguments); \
		return code; \
	}

VERDICT(pass, KLOS_RESULT_PASS, 1)
VERDICT(fail, KLOS_RESULT_FAIL, 0)
VERDICT(not_enforced, KLOS_RESULT_NOT_ENFORCED, 0)
VERDICT(broke, KLOS_RESULT_PASS, 0)

int start_self(const char *arguments)
{
	char name[24];

	service_process_name(name, sizeof(name));
	return service_process_create(name, arguments);
}

int has_argument(const char *wanted)
{
	char arguments[40];

	service_process_arguments(arguments, sizeof(arguments));
	return string_equal(arguments, wanted);
}

int run_self(const char *arguments, uint32_t *code)
{
	int child = start_self(arguments);

	*code = 0;
	return child < 0 ? child : service_process_wait((uint32_t)child, code);
}
