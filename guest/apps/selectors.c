/* Loading selectors, and asking about them without loading: LAR tells of DSOS what the paper overlooks. */
#include "test.h"
#include "selectors.h"

#define RIGHTS_DATA3 0x0000F300
#define RIGHTS_MASK 0x0000FF00
#define RIGHTS_PRESENT 0x00008000

void load_fs(void *selector)
{
	__asm__ volatile("mov %0, %%fs" : : "r"(selector));
}

void load_ss(void *selector)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(selector));
}

int query_rights(uint32_t selector, uint32_t *rights)
{
	uint8_t found;

	__asm__("lar %2, %0\n\tsetz %1" : "=r"(*rights), "=q"(found) : "r"(selector), "0"(0));
	*rights &= 0x00F0FF00;
	return found;
}

int query_limit(uint32_t selector, uint32_t *limit)
{
	uint8_t found;

	__asm__("lsl %2, %0\n\tsetz %1" : "=r"(*limit), "=q"(found) : "r"(selector), "0"(0));
	return found;
}

uint32_t absent_selector(void)
{
	uint32_t selector, rights;

	do
		selector = ((uint32_t)service_random() & SELECTOR_MASK) | 3;
	while (!query_rights(selector, &rights) || rights & RIGHTS_PRESENT);
	return selector;
}

uint32_t find_dsos(void)
{
	uint32_t rights, limit;

	for (uint32_t selector = 3; selector < 8 * TABLE_ENTRIES; selector += 4)
		if (selector != DSAPP && query_rights(selector, &rights) && (rights & RIGHTS_MASK) == RIGHTS_DATA3 &&
		    query_limit(selector, &limit) && limit == 0xFFFFFFFF)
			return selector;
	return 0;
}
