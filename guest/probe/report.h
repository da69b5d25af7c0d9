/* The machine-readable report; README.md describes the lines. */
#ifndef REPORT_H
#define REPORT_H

#include "row.h"
#include "text.h"

void report_header(const char *machine, unsigned rows);
void report_row(const struct row *row, const struct outcome *got);
void report_skipped(const struct row *row, const char *reason);
void report_end(void);

#endif
