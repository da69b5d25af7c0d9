/* Memory, strings, formatted text. `format` knows %s %c %d %u %x, a width, `-` and `0`. */
#ifndef STRING_H
#define STRING_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t string_length(const char *text);
int string_equal(const char *a, const char *b);
void string_copy(char *to, const char *from, size_t size);
uint32_t parse_number(const char *text);
int format(char *to, size_t size, const char *pattern, ...) __attribute__((format(printf, 3, 4)));
int format_arguments(char *to, size_t size, const char *pattern, va_list arguments);

#endif
