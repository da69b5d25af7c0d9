/*
 * Structured exception handling (paper, 2.3.3): an application keeps a chain of handlers on its stack and tells the OS its
 * head. A fault in application code calls the first; it may repair the context and continue, or pass the exception on along the
 * chain.
 */
#include "os.h"
#include "exception.h"

extern char exception_return[];

static void store_context(struct exception_context *context, const struct klos_frame *frame)
{
	context->edi = frame->edi;
	context->esi = frame->esi;
	context->ebp = frame->ebp;
	context->esp = frame->esp;
	context->ebx = frame->ebx;
	context->edx = frame->edx;
	context->ecx = frame->ecx;
	context->eax = frame->eax;
	context->eip = frame->eip;
	context->eflags = frame->eflags & ~EFLAGS_IOPL;
}

static void load_context(struct klos_frame *frame, const struct exception_context *context)
{
	memset(frame, 0, sizeof(*frame));
	frame->ds = frame->es = frame->ss = DSAPP;
	frame->cs = CSOS;
	frame->edi = context->edi;
	frame->esi = context->esi;
	frame->ebp = context->ebp;
	frame->esp = context->esp;
	frame->ebx = context->ebx;
	frame->edx = context->edx;
	frame->ecx = context->ecx;
	frame->eax = context->eax;
	frame->eip = context->eip;
	frame->eflags = context->eflags;
}

/* Let a frame call a handler: exception_return and the record's address below the record. */
static int call_handler(struct klos_frame *frame, struct exception *record, struct exception_registration *registration)
{
	uint32_t *stack = (uint32_t *)record - 2;

	if (!user_readable(registration, sizeof(*registration)) || !user_writable(stack, sizeof(*record) + 8))
		return 0;
	record->registration = registration;
	stack[0] = (uint32_t)exception_return;
	stack[1] = (uint32_t)record;
	frame->esp = (uint32_t)stack;
	frame->eip = (uint32_t)registration->handler;
	frame->eflags &= ~(EFLAGS_TF | EFLAGS_DF);
	frame->ds = frame->es = frame->ss = DSAPP;
	return 1;
}

/* Nonzero where the application's handler will see the exception. */
int exception_deliver(struct klos_frame *frame)
{
	uint32_t head = current_thread()->process->public.exception_handler;
	struct exception *record = (struct exception *)((frame->esp & ~3u) - sizeof(*record));

	if (!head || !user_writable(record, sizeof(*record)))
		return 0;
	record->vector = frame->vector;
	record->error_code = frame->error_code;
	record->address = frame->vector == VECTOR_PF ? frame->cr2 : 0;
	store_context(&record->context, frame);
	return call_handler(frame, record, (struct exception_registration *)head);
}

/* Service: a handler has returned. Does not return to its caller but where the context says. */
int exception_resume(uint32_t disposition, struct exception *record)
{
	struct thread *thread = current_thread();
	struct klos_frame *frame = &thread->resume_frame;

	if (!user_writable(record, sizeof(*record)))
		return ERROR_POINTER;
	load_context(frame, &record->context);
	if (disposition != EXCEPTION_CONTINUE) {
		struct exception_registration *registration = record->registration;
		if (!user_readable(registration, sizeof(*registration)) || !registration->next ||
		    !call_handler(frame, record, registration->next)) {
			critical_enter();
			process_end(thread->process, 0, record->vector);
			critical_leave();
		}
	}
	thread->resume = 1;
	commit(0);
	return ERROR_ARGUMENT;
}

/* In the commit handler: put the context in place that exception_resume prepared. */
void exception_commit(struct klos_frame *frame)
{
	struct thread *thread = current_thread();

	if (!thread->resume)
		return;
	thread->resume = 0;
	thread->resume_frame.vector = frame->vector;
	context_copy(frame, &thread->resume_frame);
}
