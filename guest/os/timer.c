/* Interval timer (8254) on interrupt 0, and the real-time clock: drivers in ring 3 (paper, 2). */
#include "os.h"

#define COUNTER0 0x40
#define CONTROL 0x43
#define RATE_GENERATOR 0x34
#define INPUT_HZ 1193182
#define CLOCK_INDEX 0x70
#define CLOCK_DATA 0x71

void timer_start(uint32_t rate)
{
	uint32_t divisor = INPUT_HZ / rate, before = io_open(COUNTER0, 4);

	out8(CONTROL, RATE_GENERATOR);
	out8(COUNTER0, divisor & 0xFF);
	out8(COUNTER0, (uint8_t)(divisor >> 8));
	io_close(COUNTER0, 4, before);
	klos_info.tick_rate = rate;
}

EVENT_HANDLER(event_timer)
{
	klos_info.tick_count++;
	scheduler_tick();
	mailbox_poll(frame);
}

static uint32_t clock_field(uint8_t index)
{
	out8(CLOCK_INDEX, index);
	uint8_t coded = in8(CLOCK_DATA);
	return (coded >> 4) * 10u + (coded & 0xF);
}

/* Seconds since midnight. */
uint32_t clock_read(void)
{
	uint32_t before = io_open(CLOCK_INDEX, 2);
	uint32_t seconds = clock_field(4) * 3600 + clock_field(2) * 60 + clock_field(0);

	io_close(CLOCK_INDEX, 2, before);
	return seconds;
}
