/* Reads the keyboard, and the first serial port. */
#include "app.h"

APPLICATION(keys, ORDINARY, "keys", "prints what is typed, up to the end of the line")
{
	char line[32];
	uint32_t length = 0;
	int key;

	say("keys: type a line\n");
	while (length + 1 < sizeof(line) && (key = service_key_wait()) != '\n')
		line[length++] = (char)key;
	line[length] = 0;
	say("keys: \"%s\"\n", line);
	return 0;
}

APPLICATION(listen, ORDINARY, "listen", "prints what arrives at the serial port, up to the end of the line")
{
	char line[32];
	uint32_t length = 0;
	int byte;

	say("listen: send a line\n");
	while (length + 1 < sizeof(line) && (byte = service_serial_read()) != '\n') {
		if (byte >= 0)
			line[length++] = (char)byte;
		else
			service_sleep(1);
	}
	line[length] = 0;
	say("listen: \"%s\"\n", line);
	return 0;
}
