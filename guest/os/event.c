/*
 * What every event handler does first and last (paper, 2.1): account, switch threads, and make sure that what the event core
 * is about to restore cannot fault in ring 0, gives nothing away, and has an IOPL below CPL (paper, 2.3.2).
 */
#include "os.h"

#define EVENTS 8192

extern char os_text_start[], os_text_end[];
extern uint64_t core_time; /* TSC at the newest event's stub */
extern uint32_t core_handler_esp;

uint32_t handler_table[256];
static struct klos_event events[EVENTS];

void event_register(uint32_t vector, handler *function)
{
	handler_table[vector] = (uint32_t)function;
}

EVENT_HANDLER(event_unexpected)
{
	(void)frame;
	klos_info.spurious_irqs++;
}

void events_start(void)
{
	for (uint32_t vector = 0; vector < 256; vector++)
		event_register(vector, event_unexpected);
	klos_info.events.address = (uint32_t)events;
	klos_info.events.count = EVENTS;
	klos_info.events.entry_size = sizeof(events[0]);
	klos_info.events_on = 1;
	klos_info.handlers.address = (uint32_t)handler_table;
	klos_info.handlers.count = 256;
	klos_info.handlers.entry_size = sizeof(handler_table[0]);
}

int in_os_code(const struct klos_frame *frame)
{
	return frame->eip >= (uint32_t)os_text_start && frame->eip < (uint32_t)os_text_end;
}

static volatile struct klos_event *event_begin(const struct klos_frame *frame, uint32_t seq)
{
	volatile struct klos_event *event = &events[(seq - 1) % EVENTS];
	const struct thread *thread = current_thread();

	event->seq = 0;
	event->time_in = read_tsc();
	event->time_stub = core_time;
	event->handler_esp = core_handler_esp;
	event->handler_ss = (uint16_t)read_ss();
	event->esp0 = ((const struct tss *)TSS_ADDRESS)->esp0;
	event->vector = (uint8_t)frame->vector;
	event->depth = (uint8_t)klos_info.event_depth;
	event->origin = (uint8_t)frame->origin;
	event->flags = frame->origin == KLOS_ORIGIN_RING3 && in_os_code(frame) ? KLOS_EVENT_OS : 0;
	event->error_code = frame->error_code;
	event->eip = frame->eip;
	event->esp = frame->esp;
	event->cs = (uint16_t)frame->cs;
	event->ss = (uint16_t)frame->ss;
	event->cr2 = frame->cr2;
	event->handler = handler_table[frame->vector];
	event->pid = thread ? (uint16_t)thread->public.pid : 0;
	event->tid = thread ? (uint16_t)thread->public.tid : 0;
	return event;
}

static void event_end(volatile struct klos_event *event, const struct klos_frame *frame, uint32_t seq)
{
	const struct thread *thread = current_thread();
	uint8_t flags = event->flags;

	event->resumed_eip = frame->eip;
	event->resumed_pid = thread ? (uint16_t)thread->public.pid : 0;
	event->resumed_tid = thread ? (uint16_t)thread->public.tid : 0;
	if (frame->request & KLOS_REQUEST_FLUSH)
		flags |= KLOS_EVENT_FLUSHED;
	if (frame->request & KLOS_REQUEST_IDLE)
		flags |= KLOS_EVENT_IDLE;
	if (frame->vector >= VECTOR_IRQ && frame->vector < VECTOR_IRQ + 16)
		flags |= KLOS_EVENT_EOI;
	if (event->tid != event->resumed_tid)
		flags |= KLOS_EVENT_SWITCHED;
	event->flags = flags;
	event->time_out = read_tsc();
	event->seq = seq;
}

static int is_dsos(uint32_t selector)
{
	return (selector | 3) == klos_info.dsos;
}

/* Restoring any other selector could fault in ring 0 (stale DSOS, say): such a one becomes null. */
static void replace_selector(uint32_t *selector)
{
	if ((*selector & ~3u) != 0 && (*selector | 3) != DSAPP && !is_dsos(*selector))
		*selector = 0;
}

/* Nonzero where the application may go on. */
static int make_restorable(struct klos_frame *frame)
{
	uint32_t *selectors[] = { &frame->ds, &frame->es, &frame->fs, &frame->gs };
	int os = in_os_code(frame), caught = !os && is_dsos(frame->ss);

	for (int i = 0; i < 4; i++) {
		replace_selector(selectors[i]);
		caught |= !os && is_dsos(*selectors[i]);
	}
	frame->eflags &= ~(EFLAGS_NT | EFLAGS_IOPL | EFLAGS_VM);
	frame->eflags |= EFLAGS_IF | EFLAGS_FIXED;
	if (!caught)
		return frame->cs == CSOS && (frame->ss == DSAPP || is_dsos(frame->ss));
	klos_info.dsos_caught++;
	current_thread()->process->public.flags |= KLOS_PROCESS_CAUGHT;
	dsos_relocate(frame, KLOS_CAUSE_ATTACK);
	return 0;
}

/* An interrupt came while an application was calling the return gate: it is served, and the caller gets its #GP now. */
static void fault_caller(struct klos_frame *frame)
{
	uint32_t vector = frame->vector;

	frame->vector = VECTOR_GP;
	frame->error_code = 0;
	klos_info.process_faults++;
	current_thread()->process->public.faults++;
	if (!exception_deliver(frame))
		process_end(current_thread()->process, 0, VECTOR_GP);
	frame->vector = vector;
}

static void settle(struct klos_frame *frame)
{
	if (frame->origin == KLOS_ORIGIN_GATE) {
		klos_info.gate_abuses++;
		if (frame->vector != VECTOR_GP)
			fault_caller(frame);
	}
	for (;;) {
		schedule(frame);
		if (!klos_info.current_thread || make_restorable(frame))
			return;
		process_end(current_thread()->process, 0, VECTOR_GP);
	}
}

void event_run(struct klos_frame *frame, handler *body)
{
	uint32_t seq = ++klos_info.event_count;
	volatile struct klos_event *event = klos_info.events_on ? event_begin(frame, seq) : 0;

	body(frame);
	if (klos_info.event_depth == 1 && !(frame->request & KLOS_REQUEST_HALT))
		settle(frame);
	if (event)
		event_end(event, frame, seq);
}
