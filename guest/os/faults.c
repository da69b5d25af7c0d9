/*
 * Handlers of exceptions: the application recovers or is ended (paper, 2.3.2), and every third absent selector moves DSOS
 * (paper, 2.3.3). And of the vectors that ring 3 may raise itself; COMMIT is what the paper has none of, a down-call (paper,
 * 2.1).
 */
#include "os.h"

/* Places in OS code that may fault, and where they go on then. */
struct fixup {
	uint32_t eip, landing;
};
extern const struct fixup fixup_table[], fixup_table_end[];

static int fix_up(struct klos_frame *frame)
{
	for (const struct fixup *fixup = fixup_table; fixup < fixup_table_end; fixup++)
		if (fixup->eip == frame->eip) {
			frame->eip = fixup->landing;
			return 1;
		}
	return 0;
}

/* An exception's last instance: the application's own handler, or the end of the process (paper, 2.3.2). */
static void fault(struct klos_frame *frame)
{
	if (klos_info.event_depth > 1 || frame->origin == KLOS_ORIGIN_IDLE)
		panic("exception in an event handler");
	if (fix_up(frame))
		return;
	klos_info.process_faults++;
	current_thread()->process->public.faults++;
	/* Pages of OS data can be executed as well: what stands there in registers is not for an application. */
	if (frame->eip < APP_TOP && exception_deliver(frame))
		return;
	process_end(current_thread()->process, 0, frame->vector);
}

EVENT_HANDLER(event_exception)
{
	fault(frame);
}

/* Single steps end where OS code begins: nobody looks at a prologue while it holds DSOS. */
EVENT_HANDLER(event_debug)
{
	if (klos_info.event_depth == 1 && in_os_code(frame))
		frame->eflags &= ~EFLAGS_TF;
	else
		fault(frame);
}

EVENT_HANDLER(event_breakpoint)
{
	if (klos_info.event_depth == 1)
		fault(frame);
}

/* An absent selector: #NP, or #SS where SS was loaded. The third one moves DSOS (paper, 2.3.3). */
EVENT_HANDLER(event_absent)
{
	const struct klos_site *site = site_at(frame->eip);

	if (frame->error_code && site && dsos_is_previous(frame->error_code)) {
		klos_info.np_retried++;
		frame->eip = site->start;
		return;
	}
	if (frame->error_code && klos_info.event_depth == 1)
		dsos_absent(frame);
	fault(frame);
}

/* Vector COMMIT: from OS code EAX says what is wanted; from an application it is a yield. */
EVENT_HANDLER(event_commit)
{
	if (klos_info.flags & KLOS_FLAG_PANIC) {
		frame->request |= KLOS_REQUEST_HALT;
		return;
	}
	if (klos_info.event_depth > 1)
		return;
	if (in_os_code(frame)) {
		frame->request |= frame->eax & (KLOS_REQUEST_FLUSH | KLOS_REQUEST_SYSENTER | KLOS_REQUEST_CACHES);
		exception_commit(frame);
	}
	schedule_soon();
}

/* Vector TRAP: raises itself once more, and tells the caller how deep that went. */
EVENT_HANDLER(event_trap)
{
	uint32_t depth = klos_info.event_depth;

	if (depth == 1)
		__asm__ volatile("int %1" : "=a"(depth) : "i"(VECTOR_TRAP) : "memory");
	frame->eax = depth;
}

void faults_start(void)
{
	for (uint32_t vector = 0; vector < VECTOR_IRQ; vector++)
		event_register(vector, event_exception);
	event_register(VECTOR_DB, event_debug);
	event_register(VECTOR_BP, event_breakpoint);
	event_register(VECTOR_NP, event_absent);
	event_register(VECTOR_SS, event_absent);
	event_register(VECTOR_COMMIT, event_commit);
	event_register(VECTOR_TRAP, event_trap);
}
