/* Self-tests: services in both designs (paper, 2.4), processes, threads, memory, messages. */
#include "test.h"

#define KEY 0x6B6C

SELFTEST(design_b, "design-b", "a service through its own prologue")
{
	static const char bytes[] = "abc";
	char copied[4] = "";

	CHECK(service_null() == 0);
	CHECK(service_process_id() > 0 && service_thread_id() > 0);
	CHECK(service_copy(copied, bytes, sizeof(bytes)) == 0 && string_equal(copied, "abc"));
	return pass("%d processes, %d threads", service_process_count(), service_thread_count());
}

SELFTEST(design_a, "design-a", "services through the trampoline and the service table")
{
	uint32_t sum = 0;

	CHECK(service_trampoline(2) == service_process_id());
	CHECK(service_trampoline(60, "abc", 3) == service_checksum("abc", 3));
	CHECK(service_trampoline(64) == ERROR_SERVICE);
	CHECK(service_trampoline(0xFFFFFFFF) == ERROR_SERVICE);
	for (uint32_t number = 52; number < 57; number++)
		sum += service_trampoline(number) >= 0;
	CHECK(sum == 5);
	return pass("64 and 0xffffffff refused");
}

SELFTEST(wild_pointer, "wild-pointer", "services refuse pointers that the caller may not use")
{
	char *unmapped = (char *)0x70000000, *os = (char *)OS_BASE + 0x100000;

	CHECK(service_print(unmapped, 4) == ERROR_POINTER);
	CHECK(service_print(os, 4) == ERROR_POINTER);
	CHECK(service_print((char *)0xFFFFFFF0, 0x20) == ERROR_POINTER);
	CHECK(service_fill((void *)APP_BASE, 0, 4) == ERROR_POINTER);
	CHECK(service_process_wait(1, (uint32_t *)os) == ERROR_POINTER);
	return pass("unmapped, OS, wrapping and read-only ranges refused");
}

SELFTEST(create, "create", "a process is made with arguments, waits for it, gets its exit code")
{
	uint32_t code = 0;

	if (has_argument("42 and more"))
		return 42;
	CHECK(run_self("42 and more", &code) == 0);
	CHECK(code == 42);
	CHECK(service_process_create("nobody", "") == ERROR_NOT_FOUND);
	CHECK(service_process_wait(9999, 0) == ERROR_NOT_FOUND);
	return pass("exit code 42 came back");
}

static volatile uint32_t laps[2], stop;

static int run_laps(void *index)
{
	while (!stop)
		laps[(uint32_t)index]++;
	return 0;
}

SELFTEST(preemption, "preemption", "threads that never yield share the processor")
{
	int first = service_thread_create(run_laps, (void *)0), second = service_thread_create(run_laps, (void *)1);

	CHECK(first > 0 && second > 0);
	service_sleep(12);
	stop = 1;
	service_sleep(4);
	CHECK(!service_thread_alive((uint32_t)first) && !service_thread_alive((uint32_t)second));
	CHECK(laps[0] && laps[1]);
	return pass("both ran");
}

SELFTEST(sleep, "sleep", "a sleeping thread wakes after its time, and the processor idles meanwhile")
{
	int before = service_ticks();

	service_sleep(5);
	CHECK(service_ticks() - before >= 5);
	CHECK(service_ticks() - before < 40);
	return pass("5 ticks of %d Hz", service_tick_rate());
}

static int child_echo(void)
{
	uint32_t number = 0, sender = 0;

	service_message_receive(&number, sizeof(number), &sender);
	number++;
	return service_message_send(sender, &number, sizeof(number));
}

SELFTEST(messages, "messages", "messages arrive in order, block the receiver, and name their sender")
{
	uint32_t number = 7, sender = 0, code;
	int child;

	if (has_argument("echo"))
		return child_echo();
	child = start_self("echo");
	CHECK(child > 0);
	CHECK(service_message_send((uint32_t)child, &number, sizeof(number)) == 0);
	CHECK(service_message_receive(&number, sizeof(number), &sender) == sizeof(number));
	CHECK(number == 8 && sender == (uint32_t)child);
	CHECK(service_process_wait((uint32_t)child, &code) == 0);
	CHECK(service_message_try_receive(&number, sizeof(number), &sender) == ERROR_EMPTY);
	CHECK(service_message_try_send(9999, &number, 4) == ERROR_NOT_FOUND);
	return pass("8 came back from process %d", child);
}

SELFTEST(queue_full, "queue-full", "a full message queue is an error to the sender, or makes it wait")
{
	uint32_t me = (uint32_t)service_process_id(), i;
	char too_long[65];

	for (i = 0; i < 100; i++)
		if (service_message_try_send(me, &i, sizeof(i)) != 0)
			break;
	CHECK(i == 8 && service_message_count() == 8);
	CHECK(service_message_try_send(me, &i, sizeof(i)) == ERROR_FULL);
	CHECK(service_message_try_send(me, too_long, sizeof(too_long)) == ERROR_ARGUMENT);
	return pass("after 8 messages");
}

SELFTEST(shared, "shared-memory", "two processes see the same pages")
{
	volatile uint32_t *words;
	uint32_t code;

	if (has_argument("child")) {
		words = (volatile uint32_t *)service_shared_map(KEY);
		words[1] = words[0] * 2;
		return (int)words[1024];
	}
	CHECK(service_shared_create(KEY, 2) == 0);
	CHECK(service_shared_create(KEY, 2) == ERROR_ARGUMENT);
	words = (volatile uint32_t *)service_shared_map(KEY);
	CHECK((int)words > 0 && service_shared_size(KEY) == 8192);
	words[0] = 21;
	words[1024] = 5;
	CHECK(run_self("child", &code) == 0 && code == 5);
	CHECK(words[1] == 42);
	CHECK(service_shared_unmap(KEY) == 0);
	CHECK(service_shared_map(KEY) == ERROR_NOT_FOUND);
	return pass("42 came through");
}

static void read_byte(void *address)
{
	(void)*(volatile uint8_t *)address;
}

SELFTEST(heap, "heap", "the heap grows by zeroed pages and gives them back")
{
	uint32_t *words = (uint32_t *)service_heap_grow(3);

	CHECK((int)words > 0 && words[0] == 0 && words[3071] == 0);
	words[3071] = 1;
	CHECK(service_heap_grow(0x10000) == ERROR_MEMORY);
	CHECK(service_heap_end() == (int)words + 3 * PAGE_SIZE);
	CHECK(service_heap_shrink(3) >= 0);
	CHECK(fault_of(read_byte, words) == 14);
	return pass("freed pages fault at once");
}

SELFTEST(out_of_frames, "out-of-frames", "without free frames the caller gets an error, nobody else notices")
{
	uint32_t grown = 0, before = (uint32_t)service_frames_free(), code;

	if (has_argument("child")) {
		while (service_heap_grow(64) > 0)
			grown += 64;
		while (service_heap_grow(1) > 0)
			grown++;
		return service_process_create("create", "42 and more") == ERROR_MEMORY && grown > 256 ? 0 : 1;
	}
	CHECK(run_self("child", &code) == 0 && code == 0);
	CHECK(service_frames_free() == (int)before);
	return pass("all %u frames are free again", before);
}

SELFTEST(out_of_processes, "out-of-processes", "without free process slots the caller gets an error")
{
	uint32_t children[64], count = 0, code;
	int child;

	if (has_argument("wait"))
		for (;;)
			service_sleep(1000);
	while ((child = start_self("wait")) > 0 && count < 64)
		children[count++] = (uint32_t)child;
	CHECK(child == ERROR_FULL && count > 8);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(service_process_kill(children[i]) == 0);
		CHECK(service_process_wait(children[i], &code) == 0);
	}
	return pass("after %u processes", count);
}

SELFTEST(random, "random", "applications have a random source of their own")
{
	int first = service_random(), second = service_random();

	CHECK(first != second);
	CHECK(service_version() == KLOS_ABI_VERSION);
	return pass("%x %x", (uint32_t)first, (uint32_t)second);
}
