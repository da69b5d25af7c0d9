/* First serial port (16550), a driver in ring 3 (paper, 2): output by polling, input by interrupt. */
#include "os.h"

#define PORT 0x3F8
#define PORTS 8
#define DATA (PORT + 0)
#define INTERRUPT_ENABLE (PORT + 1)
#define FIFO_CONTROL (PORT + 2)
#define LINE_CONTROL (PORT + 3)
#define MODEM_CONTROL (PORT + 4)
#define LINE_STATUS (PORT + 5)
#define STATUS_DATA_READY 0x01
#define STATUS_CAN_SEND 0x20
#define POLLS 100000

static uint8_t input[64];
static uint32_t input_first, input_count;

void serial_start(void)
{
	uint32_t before = io_open(PORT, PORTS);

	out8(LINE_CONTROL, 0x80);
	out8(DATA, 1); /* divisor 1: 115200 baud */
	out8(INTERRUPT_ENABLE, 0);
	out8(LINE_CONTROL, 0x03); /* 8 data bits, no parity, 1 stop bit */
	out8(FIFO_CONTROL, 0x07);
	out8(MODEM_CONTROL, 0x0B);
	out8(INTERRUPT_ENABLE, 0x01);
	io_close(PORT, PORTS, before);
}

static void send(uint8_t byte)
{
	for (uint32_t i = 0; i < POLLS && !(in8(LINE_STATUS) & STATUS_CAN_SEND); i++)
		;
	out8(DATA, byte);
}

void serial_write(const char *text, uint32_t length)
{
	uint32_t before = io_open(PORT, PORTS);

	for (uint32_t i = 0; i < length; i++) {
		if (text[i] == '\n')
			send('\r');
		send((uint8_t)text[i]);
	}
	io_close(PORT, PORTS, before);
}

int serial_read(void)
{
	int byte = ERROR_EMPTY;

	critical_enter();
	if (input_count) {
		byte = input[input_first];
		input_first = (input_first + 1) % sizeof(input);
		input_count--;
	}
	critical_leave();
	return byte;
}

EVENT_HANDLER(event_serial)
{
	uint32_t before = io_open(PORT, PORTS);

	(void)frame;
	while (in8(LINE_STATUS) & STATUS_DATA_READY) {
		uint8_t byte = in8(DATA);
		if (input_count < sizeof(input))
			input[(input_first + input_count++) % sizeof(input)] = byte;
	}
	io_close(PORT, PORTS, before);
}
