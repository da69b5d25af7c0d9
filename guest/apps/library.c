/* What applications share. */
#include "app.h"

void say(const char *pattern, ...)
{
	char line[160];
	va_list arguments;
	int length;

	va_start(arguments, pattern);
	length = format_arguments(line, sizeof(line), pattern, arguments);
	va_end(arguments);
	service_print(line, (uint32_t)length);
}
