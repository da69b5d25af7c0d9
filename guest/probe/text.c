#include "text.h"

void put_text(const char *text)
{
	while (*text)
		put_char(*text++);
}

void put_hex(uint32_t value)
{
	int shift = 28;

	if (value)
		put_text("0x");
	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[value >> shift & 15]);
}

void put_decimal(uint32_t value)
{
	if (value >= 10)
		put_decimal(value / 10);
	put_char('0' + value % 10);
}
