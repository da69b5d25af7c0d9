/* Services (paper, 2.4) about memory, messages, exceptions and devices. */
#include "exception.h"
#include "os.h"
#include "services.h"

static struct process *mine(void)
{
	return current_thread()->process;
}

int do_print(const char *text, uint32_t length)
{
	if (!user_readable(text, length))
		return ERROR_POINTER;
	console_write(text, length);
	return (int)length;
}

int do_heap_start(void)
{
	return (int)mine()->public.heap_start;
}

int do_heap_end(void)
{
	return (int)mine()->public.heap_end;
}

/* Returns the first of the new bytes, which are zero. */
int do_heap_grow(uint32_t pages)
{
	struct process *process = mine();
	uint32_t first = process->public.heap_end;
	int result = ERROR_MEMORY;

	critical_enter();
	if (pages <= (APP_HEAP_TOP - first) / PAGE_SIZE && !pages_allocate(process, first, pages)) {
		process->public.heap_end = first + pages * PAGE_SIZE;
		result = (int)first;
	}
	critical_leave();
	return result;
}

int do_heap_shrink(uint32_t pages)
{
	struct process *process = mine();
	int result = ERROR_ARGUMENT;

	critical_enter();
	if (pages <= (process->public.heap_end - process->public.heap_start) / PAGE_SIZE) {
		process->public.heap_end -= pages * PAGE_SIZE;
		pages_free(process, process->public.heap_end, pages);
		result = (int)process->public.heap_end;
	}
	commit(KLOS_REQUEST_FLUSH);
	critical_leave();
	return result;
}

int do_page_present(const void *address)
{
	return user_readable(address, 1);
}

int do_frames_free(void)
{
	return (int)klos_info.free_frames;
}

int do_frames_total(void)
{
	return (int)klos_info.total_frames;
}

int do_shared_create(uint32_t key, uint32_t pages)
{
	return shared_create(key, pages);
}

int do_shared_map(uint32_t key)
{
	return shared_map(key);
}

int do_shared_unmap(uint32_t key)
{
	return shared_unmap(key);
}

int do_shared_size(uint32_t key)
{
	return shared_size(key);
}

int do_message_try_send(uint32_t pid, const void *text, uint32_t length)
{
	return user_readable(text, length) ? message_send(pid, text, length) : ERROR_POINTER;
}

static int has_room(uint32_t pid)
{
	const struct process *process = process_find(pid);

	return !process || process->public.messages < QUEUE_MESSAGES;
}

int do_message_send(uint32_t pid, const void *text, uint32_t length)
{
	int result;

	while ((result = do_message_try_send(pid, text, length)) == ERROR_FULL) {
		critical_enter();
		WAIT_UNTIL(has_room(pid), KLOS_WAIT_SEND, pid);
		critical_leave();
	}
	return result;
}

int do_message_try_receive(void *text, uint32_t size, uint32_t *sender)
{
	uint32_t from = 0;
	int result;

	if (!user_writable(text, size) || (sender && !user_writable(sender, sizeof(*sender))))
		return ERROR_POINTER;
	result = message_receive(text, size, &from);
	if (result >= 0 && sender)
		*sender = from;
	return result;
}

int do_message_receive(void *text, uint32_t size, uint32_t *sender)
{
	int result;

	while ((result = do_message_try_receive(text, size, sender)) == ERROR_EMPTY) {
		critical_enter();
		WAIT_UNTIL(mine()->public.messages, KLOS_WAIT_RECEIVE, mine()->public.pid);
		critical_leave();
	}
	return result;
}

int do_message_count(void)
{
	return (int)mine()->public.messages;
}

int do_message_size(void)
{
	return MESSAGE_SIZE;
}

int do_exception_set(uint32_t head)
{
	mine()->public.exception_handler = head;
	return 0;
}

int do_exception_get(void)
{
	return (int)mine()->public.exception_handler;
}

int do_exception_resume(uint32_t disposition, struct exception *record)
{
	return exception_resume(disposition, record);
}

int do_key_read(void)
{
	return key_take();
}

int do_key_wait(void)
{
	int key;

	critical_enter();
	WAIT_UNTIL((key = key_take()) >= 0, KLOS_WAIT_KEY, 0);
	critical_leave();
	return key;
}

int do_serial_write(const char *text, uint32_t length)
{
	if (!user_readable(text, length))
		return ERROR_POINTER;
	serial_write(text, length);
	return (int)length;
}

int do_serial_read(void)
{
	return serial_read();
}

int do_debug_write(const char *text, uint32_t length)
{
	if (!user_readable(text, length))
		return ERROR_POINTER;
	debug_write(text, length);
	return (int)length;
}

int do_screen_write(uint32_t row, uint32_t column, const char *text, uint32_t length)
{
	if (!user_readable(text, length))
		return ERROR_POINTER;
	screen_write_at(row, column, text, length);
	return (int)length;
}

int do_screen_clear(void)
{
	screen_clear();
	return 0;
}

int do_fill(void *to, uint32_t value, uint32_t size)
{
	if (!user_writable(to, size))
		return ERROR_POINTER;
	memset(to, (int)value, size);
	return 0;
}

int do_copy(void *to, const void *from, uint32_t size)
{
	if (!user_writable(to, size) || !user_readable(from, size))
		return ERROR_POINTER;
	memcpy(to, from, size);
	return 0;
}

int do_checksum(const uint8_t *bytes, uint32_t size)
{
	uint32_t sum = 0;

	if (!user_readable(bytes, size))
		return ERROR_POINTER;
	for (uint32_t i = 0; i < size; i++)
		sum = (sum << 1 | sum >> 30) + bytes[i];
	return (int)(sum & 0x7FFFFFFF);
}
