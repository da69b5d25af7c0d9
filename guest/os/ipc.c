/* Messages, for communication between processes (paper, 1): a queue of fixed size for each. */
#include "os.h"

static struct message *slot(struct process *process, uint32_t index)
{
	return &process->queue[(process->queue_first + index) % QUEUE_MESSAGES];
}

/* Put a message into a process's queue. The caller blocks on KLOS_WAIT_SEND where it is told FULL and wants to wait. */
int message_send(uint32_t pid, const void *text, uint32_t length)
{
	struct process *process;
	int result = ERROR_NOT_FOUND;

	if (length > MESSAGE_SIZE)
		return ERROR_ARGUMENT;
	critical_enter();
	process = process_find(pid);
	if (process && process->public.state != KLOS_STATE_ENDED) {
		result = ERROR_FULL;
		if (process->public.messages < QUEUE_MESSAGES) {
			struct message *message = slot(process, process->public.messages++);
			message->sender = current_thread()->public.pid;
			message->length = length;
			memcpy(message->text, text, length);
			threads_wake(KLOS_WAIT_RECEIVE, pid);
			result = 0;
		}
	}
	critical_leave();
	return result;
}

/* Take the oldest message; longer ones are cut. Returns its length. */
int message_receive(void *text, uint32_t size, uint32_t *sender)
{
	struct process *process = current_thread()->process;
	int result = ERROR_EMPTY;

	critical_enter();
	if (process->public.messages) {
		const struct message *message = slot(process, 0);
		uint32_t length = message->length < size ? message->length : size;
		memcpy(text, message->text, length);
		*sender = message->sender;
		process->queue_first = (process->queue_first + 1) % QUEUE_MESSAGES;
		process->public.messages--;
		threads_wake(KLOS_WAIT_SEND, process->public.pid);
		result = (int)length;
	}
	critical_leave();
	return result;
}
