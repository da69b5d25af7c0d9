/* What modify_ldt takes. Linux sets S, DPL 3 and the accessed bit itself. */
#ifndef LDT_H
#define LDT_H

#include <stdint.h>

struct user_desc {
	uint32_t entry_number;
	uint32_t base;
	uint32_t limit;
	uint32_t seg_32bit : 1;
	uint32_t contents : 2;		/* type bits 2 and 3: expand-down or conforming, code */
	uint32_t read_exec_only : 1;
	uint32_t limit_in_pages : 1;
	uint32_t seg_not_present : 1;
	uint32_t useable : 1;
};
_Static_assert(sizeof(struct user_desc) == 16, "modify_ldt checks the size");

#endif
