/* Loading selectors, and asking about them without loading. */
#ifndef SELECTORS_H
#define SELECTORS_H

#include <stdint.h>

/* Load a selector; the argument is its value. */
void load_fs(void *selector);
void load_ss(void *selector);

/* LAR: nonzero where the descriptor is visible at CPL 3; its access rights (bits 8-15, 20-23) go to *rights. */
int query_rights(uint32_t selector, uint32_t *rights);
/* LSL: nonzero where the limit is visible. */
int query_limit(uint32_t selector, uint32_t *limit);

/* A random selector whose slot holds the filler. */
uint32_t absent_selector(void);
/* The DSOS selector as a LAR scan finds it, or 0. */
uint32_t find_dsos(void);

#endif
