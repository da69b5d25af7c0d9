/* What the system prints goes to the debug console (port 0xE9), the first serial port and the screen. */
#include "os.h"

#define DEBUG_PORT 0xE9

void debug_write(const char *text, uint32_t length)
{
	uint32_t before = io_open(DEBUG_PORT, 1);

	for (uint32_t i = 0; i < length; i++)
		out8(DEBUG_PORT, (uint8_t)text[i]);
	io_close(DEBUG_PORT, 1, before);
}

void console_write(const char *text, uint32_t length)
{
	critical_enter();
	debug_write(text, length);
	serial_write(text, length);
	screen_write(text, length);
	critical_leave();
}

void print(const char *pattern, ...)
{
	char line[200];
	va_list arguments;
	int length;

	va_start(arguments, pattern);
	length = format_arguments(line, sizeof(line), pattern, arguments);
	va_end(arguments);
	console_write(line, (uint32_t)length);
}
