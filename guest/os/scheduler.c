/*
 * Threads, scheduled in ring 3 (paper, 2): pre-emptive round robin; a thread's priority is the length of its turn in ticks. The
 * event core loads the next one's address space, and its I/O bitmap with that (paper, 2.3.2).
 */
#include "os.h"

#define APP_STACK_PAGES 4
#define APP_STACK_SPACE 0x20000 /* address space for a stack; all below the mapped pages is guard */
#define DEFAULT_PRIORITY 2
#define FIRST_ARGUMENTS 32 /* bytes above a thread's first ESP: prologues read that much of the caller's stack */

extern char thread_exit_return[];

struct thread threads[MAX_THREADS];
uint32_t current_os_stack; /* the top of the running thread's: prologues load ESP from here */
static uint32_t next_tid = 1;
static volatile int wanted; /* somebody else should run */

void critical_enter(void)
{
	klos_info.preempt_off++;
}

void critical_leave(void)
{
	klos_info.preempt_off--;
	if (wanted && !klos_info.preempt_off && !klos_info.event_depth && klos_info.current_thread)
		commit(0);
}

/* Ask the event core for what ring 3 cannot do: reschedule, flush the TLB. */
void commit(uint32_t request)
{
	__asm__ volatile("int %0" : : "i"(VECTOR_COMMIT), "a"(request) : "memory");
}

static struct thread *free_slot(void)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.state == KLOS_STATE_FREE)
			return &threads[i];
	return 0;
}

static uint32_t app_stack_slot(const struct process *process)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.state != KLOS_STATE_FREE && threads[i].process == process)
			used |= 1u << (threads[i].public.stack_top - APP_STACK_BASE) / APP_STACK_SPACE;
	for (uint32_t slot = 1; slot < 32; slot++)
		if (!(used >> slot & 1))
			return slot;
	return 0;
}

/* The first frame of a thread: an application's on its own stack, a system thread's on its OS stack. */
static void first_frame(struct thread *thread, uint32_t argument)
{
	int is_system = thread->process->public.flags & KLOS_PROCESS_SYSTEM;
	uint32_t data = is_system ? klos_info.dsos : DSAPP;
	uint32_t top = is_system ? thread->public.os_stack_top : thread->public.stack_top;

	memset(&thread->frame, 0, sizeof(thread->frame));
	thread->frame.cr3 = thread->process->public.cr3;
	thread->frame.ds = thread->frame.es = thread->frame.ss = data;
	thread->frame.cs = CSOS;
	thread->frame.eip = thread->public.entry;
	thread->frame.eflags = EFLAGS_FIXED | EFLAGS_IF;
	thread->frame.esp = top - FIRST_ARGUMENTS;
	if (is_system)
		return;
	uint32_t *entry = page_entry(thread->process->directory, top - FIRST_ARGUMENTS);
	uint32_t *words = physical_to_os((*entry & PTE_ADDRESS) + PAGE_SIZE - FIRST_ARGUMENTS);
	words[0] = (uint32_t)thread_exit_return;
	words[1] = argument;
}

struct thread *thread_create(struct process *process, uint32_t entry, uint32_t argument)
{
	struct thread *thread = free_slot();

	if (!thread)
		return 0;
	memset(thread, 0, sizeof(*thread));
	uint32_t slot = (uint32_t)(thread - threads);
	if (os_stack_allocate(slot, &thread->public.os_stack_bottom, &thread->public.os_stack_top))
		return 0;
	if (!(process->public.flags & KLOS_PROCESS_SYSTEM)) {
		uint32_t stack = app_stack_slot(process);
		if (!stack)
			return 0;
		thread->public.stack_top = APP_STACK_BASE + stack * APP_STACK_SPACE;
		thread->public.stack_bottom = thread->public.stack_top - APP_STACK_PAGES * PAGE_SIZE;
		if (pages_allocate(process, thread->public.stack_bottom, APP_STACK_PAGES))
			return 0;
	}
	thread->process = process;
	thread->public.tid = next_tid++;
	thread->public.pid = process->public.pid;
	thread->public.entry = entry;
	thread->public.priority = DEFAULT_PRIORITY;
	thread->public.context = (uint32_t)&thread->frame;
	first_frame(thread, argument);
	process->public.threads++;
	thread->public.state = KLOS_STATE_READY;
	return thread;
}

struct thread *thread_find(uint32_t tid)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.state != KLOS_STATE_FREE && threads[i].public.tid == tid)
			return &threads[i];
	return 0;
}

/* The slot is free once another thread runs. For the thread that runs that may be at the next interrupt, so it comes last. */
void thread_end(struct thread *thread)
{
	thread->process->public.threads--;
	thread->public.wait = KLOS_WAIT_NONE;
	wanted = 1;
	thread->public.state = thread == current_thread() ? KLOS_STATE_ENDED : KLOS_STATE_FREE;
}

void thread_wake(struct thread *thread)
{
	thread->public.wait = KLOS_WAIT_NONE;
	if (thread->public.state != KLOS_STATE_BLOCKED)
		return;
	thread->public.state = KLOS_STATE_READY;
	wanted = 1;
}

void threads_wake(uint32_t wait, uint32_t object)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.wait == wait && threads[i].public.wait_object == object)
			thread_wake(&threads[i]);
}

/* Say what to be woken by, before looking whether it is there already: an interrupt may bring it at any time. */
void thread_prepare(uint32_t wait, uint32_t object)
{
	current_thread()->public.wait_object = object;
	current_thread()->public.wait = wait;
}

/* Sleep until woken, at once where that has happened. In a critical section, which the thread leaves while it sleeps. */
void thread_sleep(void)
{
	struct thread *thread = current_thread();

	PANIC_IF(!klos_info.preempt_off || klos_info.event_depth);
	thread->public.state = KLOS_STATE_BLOCKED;
	if (thread->public.wait == KLOS_WAIT_NONE)
		thread->public.state = KLOS_STATE_RUNNING;
	else
		commit(0);
}

/* In a critical section. */
void thread_sleep_ticks(uint32_t ticks)
{
	current_thread()->public.wake_tick = klos_info.tick_count + ticks;
	thread_prepare(KLOS_WAIT_SLEEP, 0);
	thread_sleep();
}

void schedule_soon(void)
{
	wanted = 1;
}

void scheduler_tick(void)
{
	struct thread *current = current_thread();

	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.wait == KLOS_WAIT_SLEEP && threads[i].public.wake_tick <= klos_info.tick_count)
			thread_wake(&threads[i]);
	if (!current) {
		wanted = 1;
		return;
	}
	current->public.ticks++;
	if (current->slice > 1)
		current->slice--;
	else
		wanted = 1;
}

/* The registers of a context, without what belongs to the event. */
void context_copy(struct klos_frame *to, const struct klos_frame *from)
{
	memcpy(&to->gs, &from->gs, offsetof(struct klos_frame, vector) - offsetof(struct klos_frame, gs));
	memcpy(&to->eip, &from->eip, sizeof(*to) - offsetof(struct klos_frame, eip));
}

static struct thread *next_ready(const struct thread *after)
{
	uint32_t start = after ? (uint32_t)(after - threads) + 1 : 0;

	for (uint32_t i = 0; i < MAX_THREADS; i++) {
		struct thread *thread = &threads[(start + i) % MAX_THREADS];
		if (thread->public.state == KLOS_STATE_READY)
			return thread;
	}
	return 0;
}

static void leave_current(struct thread *current, const struct klos_frame *frame)
{
	context_copy(&current->frame, frame);
	current->sections = klos_info.preempt_off;
	if (current->process->public.state == KLOS_STATE_RUNNING)
		current->process->public.state = KLOS_STATE_READY;
	if (current->public.state == KLOS_STATE_ENDED)
		current->public.state = KLOS_STATE_FREE;
	if (current->public.state != KLOS_STATE_RUNNING)
		return;
	current->public.state = KLOS_STATE_READY;
	if (frame->vector != VECTOR_COMMIT)
		current->public.preemptions++;
}

static void run(struct thread *next, struct klos_frame *frame)
{
	context_copy(frame, &next->frame);
	next->public.state = KLOS_STATE_RUNNING;
	next->process->public.state = KLOS_STATE_RUNNING;
	next->slice = next->public.priority;
	klos_info.current_thread = (uint32_t)next;
	klos_info.current_pid = next->public.pid;
	current_os_stack = next->public.os_stack_top;
	klos_info.preempt_off = next->sections;
}

/* In an event handler at depth 1: let the frame resume another thread, or nothing. */
void schedule(struct klos_frame *frame)
{
	struct thread *current = current_thread(), *next;
	uint32_t cr3 = klos_info.os_page_directory;

	if (!wanted && current && current->public.state == KLOS_STATE_RUNNING)
		return;
	if (klos_info.preempt_off && current && current->public.state == KLOS_STATE_RUNNING)
		return;
	wanted = 0;
	if (current)
		leave_current(current, frame);
	next = next_ready(current);
	if (next) {
		run(next, frame);
		cr3 = next->process->public.cr3;
	} else {
		klos_info.current_thread = 0;
		klos_info.current_pid = 0;
		klos_info.preempt_off = 0;
		frame->request |= KLOS_REQUEST_IDLE;
	}
	if (next != current) {
		klos_info.switch_count++;
		if (next)
			next->public.switches++;
	}
	if (cr3 != frame->cr3)
		frame->request |= KLOS_REQUEST_FLUSH;
	frame->cr3 = cr3;
}
