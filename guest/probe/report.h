/* The machine-readable report; README.md describes the lines. put_char is the caller's console. */
#ifndef REPORT_H
#define REPORT_H

#include "row.h"

void put_char(char c);
void put_text(const char *text);
void put_hex(uint32_t value);
void put_decimal(uint32_t value);

void report_header(const char *machine, unsigned rows);
void report_row(const struct row *row, const struct outcome *got);
void report_skipped(const struct row *row, const char *reason);
void report_end(void);

#endif
