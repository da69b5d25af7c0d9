/* Two ordinary applications that send each other messages and print. */
#include "app.h"

#define ROUNDS 5
#define PAUSE 4

static uint32_t count;

/* Busy all the time, in the OS and outside it. */
APPLICATION(count, ORDINARY, "count", "counts, and calls a service at every thousandth")
{
	for (volatile uint32_t number = 1;; number++)
		if (number % 1000 == 0)
			service_null();
}

/* Look for the other by what it is called: it started right before or after. */
static int peer(int offset)
{
	return service_process_id() + offset;
}

APPLICATION(ping, ORDINARY, "ping", "sends numbers to pong")
{
	for (count = 1; count <= ROUNDS; count++) {
		uint32_t answer = 0;
		/* Pong may not be there yet: a tick can come between the two that are started. */
		while (service_message_send((uint32_t)peer(1), &count, sizeof(count)) < 0)
			service_sleep(1);
		service_message_receive(&answer, sizeof(answer), 0);
		say("ping: %u -> %u\n", count, answer);
		service_sleep(PAUSE);
	}
	for (;;)
		service_sleep(100);
}

APPLICATION(pong, ORDINARY, "pong", "answers ping with squares")
{
	for (;;) {
		uint32_t number = 0, sender = 0;
		service_message_receive(&number, sizeof(number), &sender);
		count += number;
		number *= number;
		service_message_send(sender, &number, sizeof(number));
		say("pong: squared, total %u\n", count);
	}
}
