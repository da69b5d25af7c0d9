/* Text, a character at a time. put_char is the caller's console. */
#ifndef TEXT_H
#define TEXT_H

#include <stdint.h>

void put_char(char c);
void put_text(const char *text);
void put_hex(uint32_t value);
void put_decimal(uint32_t value);

#endif
