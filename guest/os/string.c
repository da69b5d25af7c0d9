/* Memory and strings: what the compiler calls, and what the OS needs. Applications get a copy of their own. */
#include "string.h"

void *memcpy(void *to, const void *from, size_t size)
{
	void *first = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return first;
}

void *memset(void *to, int value, size_t size)
{
	void *first = to;
	size_t words = size / 4, rest = size % 4;

	__asm__ volatile("rep stosl" : "+D"(to), "+c"(words) : "a"((value & 0xFF) * 0x01010101) : "memory");
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(value) : "memory");
	return first;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *left = a, *right = b;

	for (; size; size--, left++, right++)
		if (*left != *right)
			return *left < *right ? -1 : 1;
	return 0;
}

size_t string_length(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

int string_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

void string_copy(char *to, const char *from, size_t size)
{
	size_t i = 0;

	for (; i + 1 < size && from[i]; i++)
		to[i] = from[i];
	to[i] = 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 99;
}

uint32_t parse_number(const char *text)
{
	uint32_t value = 0;
	int base = 10;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	for (; digit(*text) < base; text++)
		value = value * (uint32_t)base + (uint32_t)digit(*text);
	return value;
}

struct sink {
	char *to;
	size_t room; /* the terminator counted */
	size_t used;
};

static void put(struct sink *sink, char c)
{
	if (sink->used + 1 < sink->room)
		sink->to[sink->used++] = c;
}

static void put_number(struct sink *sink, uint32_t value, uint32_t base, int width, char fill)
{
	char digits[32];
	int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (int i = count; i < width; i++)
		put(sink, fill);
	while (count)
		put(sink, digits[--count]);
}

static void put_string(struct sink *sink, const char *text, int width)
{
	for (; *text; text++, width--)
		put(sink, *text);
	for (; width > 0; width--)
		put(sink, ' ');
}

int format_arguments(char *to, size_t size, const char *pattern, va_list arguments)
{
	struct sink sink = { to, size, 0 };

	for (; *pattern; pattern++) {
		if (*pattern != '%') {
			put(&sink, *pattern);
			continue;
		}
		int left = pattern[1] == '-', width = 0;
		char fill = pattern[1] == '0' ? '0' : ' ';
		for (pattern += 1 + left; *pattern >= '0' && *pattern <= '9'; pattern++)
			width = width * 10 + *pattern - '0';
		if (*pattern == 's') {
			put_string(&sink, va_arg(arguments, const char *), width);
		} else if (*pattern == 'c') {
			put(&sink, (char)va_arg(arguments, int));
		} else if (*pattern == 'x' || *pattern == 'u') {
			put_number(&sink, va_arg(arguments, uint32_t), *pattern == 'x' ? 16 : 10, width, fill);
		} else if (*pattern == 'd') {
			int value = va_arg(arguments, int);
			if (value < 0)
				put(&sink, '-');
			put_number(&sink, value < 0 ? 0u - (uint32_t)value : (uint32_t)value, 10, width, fill);
		} else {
			put(&sink, *pattern);
		}
	}
	if (size)
		to[sink.used] = 0;
	return (int)sink.used;
}

int format(char *to, size_t size, const char *pattern, ...)
{
	va_list arguments;
	int used;

	va_start(arguments, pattern);
	used = format_arguments(to, size, pattern, arguments);
	va_end(arguments);
	return used;
}
