/* Boot: ring 0, once. */
#ifndef BOOT_H
#define BOOT_H

#include <stddef.h>
#include <stdint.h>

struct boot_options {
	uint32_t seed;
	int seed_fixed;
	char *run; /* what to do once everything stands: mailbox commands, separated by commas */
	size_t run_size;
};

void tables_build(void);
void tables_load(void);
void interrupts_start(void);
void options_parse(const char *command_line, struct boot_options *options);
uint32_t entropy(void);
int has_sysenter(void);

#endif
