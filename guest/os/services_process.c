/* Services (paper, 2.4) about processes, threads and time. Each runs on the thread's OS stack with DS, ES and SS = DSOS. */
#include "os.h"
#include "services.h"

static struct process *mine(void)
{
	return current_thread()->process;
}

int do_null(void)
{
	return 0;
}

int do_bad_service(void)
{
	return ERROR_SERVICE;
}

/* A service was called with a stack outside application memory: the caller cannot be answered. */
void do_bad_stack(void)
{
	critical_enter();
	process_end(mine(), 0, VECTOR_SS);
	critical_leave();
}

int do_process_id(void)
{
	return (int)mine()->public.pid;
}

int do_thread_id(void)
{
	return (int)current_thread()->public.tid;
}

int do_parent_id(void)
{
	return (int)mine()->public.parent;
}

int do_yield(void)
{
	commit(0);
	return 0;
}

int do_sleep(uint32_t ticks)
{
	critical_enter();
	thread_sleep_ticks(ticks);
	critical_leave();
	return 0;
}

int do_exit(uint32_t code)
{
	critical_enter();
	process_end(mine(), code, NO_VECTOR);
	critical_leave();
	return 0;
}

int do_ticks(void)
{
	return (int)klos_info.tick_count;
}

int do_tick_rate(void)
{
	return (int)klos_info.tick_rate;
}

int do_process_create(const char *name, const char *arguments)
{
	char own_name[24], own_arguments[40] = "";
	const struct process *process;
	int error;

	if (user_string(name, own_name, sizeof(own_name)) < 0)
		return ERROR_POINTER;
	if (arguments && user_string(arguments, own_arguments, sizeof(own_arguments)) < 0)
		return ERROR_POINTER;
	critical_enter();
	process = process_create(own_name, own_arguments, mine()->public.pid, &error);
	critical_leave();
	return process ? (int)process->public.pid : error;
}

/* ENDED_BY the exception that ended the child, 0 where it left by itself; its code goes to *code. */
int do_process_wait(uint32_t pid, uint32_t *code)
{
	uint32_t ended_with = 0;
	int result;

	if (code && !user_writable(code, sizeof(*code)))
		return ERROR_POINTER;
	result = process_wait(pid, &ended_with);
	if (result >= 0 && code)
		*code = ended_with;
	return result;
}

int do_process_kill(uint32_t pid)
{
	struct process *process;
	int result = ERROR_NOT_FOUND;

	critical_enter();
	process = process_find(pid);
	if (process && process->public.parent == mine()->public.pid && process->public.state != KLOS_STATE_ENDED) {
		process_end(process, 0, NO_VECTOR);
		result = 0;
	}
	critical_leave();
	return result;
}

int do_process_count(void)
{
	int count = 0;

	for (uint32_t i = 0; i < MAX_PROCESSES; i++)
		count += processes[i].public.state != KLOS_STATE_FREE;
	return count;
}

static int give_text(const char *text, char *to, uint32_t size)
{
	if (!size || !user_writable(to, size))
		return ERROR_POINTER;
	string_copy(to, text, size);
	return (int)string_length(to);
}

int do_process_name(char *to, uint32_t size)
{
	return give_text(mine()->public.name, to, size);
}

int do_process_arguments(char *to, uint32_t size)
{
	return give_text(mine()->public.arguments, to, size);
}

int do_process_state(uint32_t pid)
{
	const struct process *process = process_find(pid);

	return process ? (int)process->public.state : ERROR_NOT_FOUND;
}

int do_process_threads(void)
{
	return (int)mine()->public.threads;
}

int do_process_frames(void)
{
	return (int)mine()->public.frames;
}

int do_thread_create(uint32_t entry, uint32_t argument)
{
	const struct thread *thread;

	critical_enter();
	thread = thread_create(mine(), entry, argument);
	critical_leave();
	return thread ? (int)thread->public.tid : ERROR_FULL;
}

/* The last thread ends the process. */
int do_thread_exit(uint32_t code)
{
	critical_enter();
	if (mine()->public.threads == 1)
		process_end(mine(), code, NO_VECTOR);
	else
		thread_end(current_thread());
	critical_leave();
	return 0;
}

int do_thread_priority(uint32_t priority)
{
	if (priority < 1 || priority > 20)
		return ERROR_ARGUMENT;
	current_thread()->public.priority = priority;
	return 0;
}

int do_thread_count(void)
{
	int count = 0;

	for (uint32_t i = 0; i < MAX_THREADS; i++)
		count += threads[i].public.state != KLOS_STATE_FREE;
	return count;
}

int do_thread_alive(uint32_t tid)
{
	const struct thread *thread = thread_find(tid);

	return thread && thread->public.state != KLOS_STATE_ENDED;
}

int do_clock(void)
{
	return (int)clock_read();
}

int do_random(void)
{
	return (int)(random_public() >> 1);
}

int do_faults(void)
{
	return (int)mine()->public.faults;
}

int do_relocations(void)
{
	return (int)klos_info.relocations;
}

int do_absent_loads(void)
{
	return (int)klos_info.np_faults;
}

int do_version(void)
{
	return KLOS_ABI_VERSION;
}

/* Does this processor enforce it? Either KLOS_FLAG_ENFORCED or KLOS_FLAG_WBINVD_REFUSED. */
int do_enforced(uint32_t flag)
{
	return (klos_info.flags & (KLOS_FLAG_ENFORCED | KLOS_FLAG_WBINVD_REFUSED) & flag) != 0;
}
