/*
 * Processes: an address space, threads, and what they share. All applications come from the image. Ring-3 OS code loads them,
 * through DSOS as a data alias of the code segment (paper, 2.2).
 */
#include "exception.h"
#include "os.h"

#define FIRST_PID 1
#define LAST_PID 0xEFFF
#define NAMES 1024

extern char app_physical[], app_text_start[], app_text_end[], app_data_end[];
extern const struct klos_application application_table[], application_table_end[];

struct process processes[MAX_PROCESSES];
static struct klos_name names[NAMES];
static uint32_t last_pid;

/* The image's copy of something that applications see at an address of their own. */
static void *in_image(const void *address)
{
	return physical_to_os((uint32_t)app_physical + ((uint32_t)address - APP_BASE));
}

const struct klos_application *application_find(const char *name)
{
	const struct klos_application *first = (const struct klos_application *)klos_info.applications.address;

	for (uint32_t i = 0; i < klos_info.applications.count; i++)
		if (string_equal(first[i].name, name))
			return &first[i];
	return 0;
}

struct process *process_find(uint32_t pid)
{
	for (uint32_t i = 0; i < MAX_PROCESSES; i++)
		if (processes[i].public.state != KLOS_STATE_FREE && processes[i].public.pid == pid)
			return &processes[i];
	return 0;
}

static uint32_t new_pid(void)
{
	do
		last_pid = last_pid < LAST_PID ? last_pid + 1 : FIRST_PID;
	while (process_find(last_pid));
	return last_pid;
}

static void note_name(const struct klos_process *process)
{
	volatile struct klos_name *entry = &names[process->pid % NAMES];

	entry->pid = 0;
	memcpy((char *)entry->name, process->name, sizeof(entry->name));
	entry->pid = process->pid;
}

static struct process *new_process(const char *name, const char *arguments, uint32_t parent, uint32_t flags)
{
	for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
		struct process *process = &processes[i];
		if (process->public.state != KLOS_STATE_FREE)
			continue;
		memset(process, 0, sizeof(*process));
		process->public.pid = new_pid();
		process->public.parent = parent;
		process->public.flags = flags;
		process->public.end_vector = NO_VECTOR;
		string_copy(process->public.name, name, sizeof(process->public.name));
		note_name(&process->public);
		string_copy(process->public.arguments, arguments, sizeof(process->public.arguments));
		process->public.state = KLOS_STATE_READY;
		klos_info.processes_started++;
		return process;
	}
	return 0;
}

static int map_image(struct process *process)
{
	uint32_t physical = (uint32_t)app_physical;

	for (uint32_t linear = (uint32_t)app_text_start; linear < (uint32_t)app_text_end; linear += PAGE_SIZE)
		if (page_map(process, linear, physical + (linear - APP_BASE), 0))
			return ERROR_MEMORY;
	for (uint32_t linear = (uint32_t)app_text_end; linear < (uint32_t)app_data_end; linear += PAGE_SIZE) {
		if (pages_allocate(process, linear, 1))
			return ERROR_MEMORY;
		uint32_t *entry = page_entry(process->directory, linear);
		memcpy(physical_to_os(*entry & PTE_ADDRESS), in_image((void *)linear), PAGE_SIZE);
	}
	process->public.heap_start = process->public.heap_end = APP_HEAP_BASE;
	return 0;
}

static int fill(struct process *process, const struct klos_application *application)
{
	if (directory_create(process) || map_image(process))
		return ERROR_MEMORY;
	return thread_create(process, application->entry, 0) ? 0 : ERROR_MEMORY;
}

static void undo(struct process *process)
{
	directory_destroy(process);
	process->public.state = KLOS_STATE_FREE;
	klos_info.processes_started--;
}

/* In a critical section. Returns 0 and an error where it cannot. */
struct process *process_create(const char *name, const char *arguments, uint32_t parent, int *error)
{
	const struct klos_application *application = application_find(name);
	struct process *process;

	*error = ERROR_NOT_FOUND;
	if (!application)
		return 0;
	processes_collect();
	*error = ERROR_FULL;
	process = new_process(name, arguments, parent, 0);
	if (!process)
		return 0;
	*error = fill(process, application);
	if (!*error)
		return process;
	undo(process);
	return 0;
}

/* The OS's own process: its threads run OS code only. */
struct process *process_system(const char *name)
{
	struct process *process = new_process(name, "", 0, KLOS_PROCESS_SYSTEM);

	PANIC_IF(!process || directory_create(process));
	klos_info.names.address = (uint32_t)names;
	klos_info.names.count = NAMES;
	klos_info.names.entry_size = sizeof(names[0]);
	klos_info.processes.address = (uint32_t)processes;
	klos_info.processes.count = MAX_PROCESSES;
	klos_info.processes.entry_size = sizeof(processes[0]);
	klos_info.threads.address = (uint32_t)threads;
	klos_info.threads.count = MAX_THREADS;
	klos_info.threads.entry_size = sizeof(threads[0]);
	klos_info.applications.address = (uint32_t)in_image(application_table);
	klos_info.applications.count = (uint32_t)(application_table_end - application_table);
	klos_info.applications.entry_size = sizeof(application_table[0]);
	return process;
}

static void end_other_threads(const struct process *process)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++) {
		struct thread *thread = &threads[i];
		if (thread->public.state != KLOS_STATE_FREE && thread->process == process && thread != current_thread())
			thread_end(thread);
	}
}

/*
 * End a process, in an event handler or in a critical section; its memory is freed later (processes_collect), when its address
 * space is surely in use no more. The thread that runs ends last: from then on an interrupt may switch away from it for ever.
 */
void process_end(struct process *process, uint32_t code, uint32_t vector)
{
	struct thread *current = current_thread();

	if (process->public.flags & KLOS_PROCESS_SYSTEM)
		panic("the system process has failed");
	if (klos_info.event_depth)
		klos_info.preempt_off = 0;
	end_other_threads(process);
	process->public.state = KLOS_STATE_ENDED;
	process->public.exit_code = code;
	process->public.end_vector = vector;
	klos_info.processes_ended++;
	threads_wake(KLOS_WAIT_PROCESS, process->public.pid);
	threads_wake(KLOS_WAIT_SEND, process->public.pid);
	threads_wake(KLOS_WAIT_EVENT, 0);
	if (current && current->process == process && current->public.state != KLOS_STATE_ENDED)
		thread_end(current);
}

/* Free what ended processes held, and forget those whose parent is gone or has been told. In a critical section. */
uint32_t processes_collect(void)
{
	uint32_t collected = 0;

	for (uint32_t i = 0; i < MAX_PROCESSES; i++) {
		struct process *process = &processes[i];
		if (process->public.state != KLOS_STATE_ENDED)
			continue;
		if (process->public.cr3) {
			shared_release(process);
			directory_destroy(process);
			collected++;
		}
		const struct process *parent = process_find(process->public.parent);
		if (!parent || parent->public.state == KLOS_STATE_ENDED)
			process->public.state = KLOS_STATE_FREE;
	}
	return collected;
}

/* Wait for a child's end; its slot is free afterwards. */
int process_wait(uint32_t pid, uint32_t *code)
{
	struct process *process;
	int result = ERROR_NOT_FOUND;

	critical_enter();
	process = process_find(pid);
	if (process && process->public.parent == current_thread()->public.pid) {
		WAIT_UNTIL(process->public.state == KLOS_STATE_ENDED, KLOS_WAIT_PROCESS, pid);
		*code = process->public.exit_code;
		result = process->public.end_vector == NO_VECTOR ? 0 : (int)(ENDED_BY(process->public.end_vector));
		process->public.parent = 0;
		processes_collect();
	}
	critical_leave();
	return result;
}
