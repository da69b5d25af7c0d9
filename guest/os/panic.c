/* The end of the system, found by ring-3 OS code. Ring 0 has its own: core/panic.c. */
#include "os.h"

void panic(const char *reason)
{
	struct klos_panic *record = (struct klos_panic *)klos_info.panic;
	const struct thread *thread = current_thread();
	struct klos_frame *frame = (struct klos_frame *)((struct tss *)TSS_ADDRESS)->esp0;

	klos_info.preempt_off++;
	if (klos_info.event_depth) {
		record->frame = *frame;
		record->vector = frame->vector;
		record->cr2 = frame->cr2;
		record->cr3 = frame->cr3;
	} else {
		record->vector = NO_VECTOR;
		record->frame.eip = (uint32_t)__builtin_return_address(0);
		record->frame.ebp = (uint32_t)__builtin_frame_address(0);
	}
	record->pid = thread ? thread->public.pid : 0;
	record->tid = thread ? thread->public.tid : 0;
	record->depth = klos_info.event_depth;
	string_copy(record->reason, reason, sizeof(record->reason));
	klos_info.flags |= KLOS_FLAG_PANIC;
	print("panic: %s (vector %u, eip %x, depth %u)\n", reason, record->vector, record->frame.eip, record->depth);
	for (;;)
		commit(0);
}
