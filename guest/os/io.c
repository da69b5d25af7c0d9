/*
 * Ports, through the current process's I/O bitmap (paper, 2.3.2).
 *
 * The bitmap is edited in place, so an event handler that interrupts a driver must leave the bits as it found them: that is
 * why io_close takes what io_open returned. Bits stay open for an instant only, and nothing is pre-empted meanwhile.
 */
#include "os.h"

static uint8_t *const bitmap = (uint8_t *)IOMAP;

uint32_t io_open(uint16_t port, uint32_t count)
{
	uint32_t before = 0;

	critical_enter();
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *byte = &bitmap[(port + i) / 8], bit = (uint8_t)(1 << (port + i) % 8);
		if (*byte & bit)
			before |= 1u << i;
		*byte &= (uint8_t)~bit;
	}
	return before;
}

void io_close(uint16_t port, uint32_t count, uint32_t before)
{
	for (uint32_t i = 0; i < count; i++)
		if (before >> i & 1)
			bitmap[(port + i) / 8] |= (uint8_t)(1 << (port + i) % 8);
	critical_leave();
}
