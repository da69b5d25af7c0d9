/* Shared memory (paper, 2.2): regions known by a key, at the same address in every process that maps them. */
#include "os.h"

#define REGION_SPACE 0x400000
#define MAX_PAGES 64

struct region {
	uint32_t key;
	uint32_t pages;
	uint32_t users;
	uint32_t frames[MAX_PAGES];
};

static struct region regions[MAX_SHARED];

static struct region *find(uint32_t key)
{
	for (uint32_t i = 0; i < MAX_SHARED; i++)
		if (regions[i].pages && regions[i].key == key)
			return &regions[i];
	return 0;
}

static uint32_t address_of(const struct region *region)
{
	return APP_SHARED_BASE + (uint32_t)(region - regions) * REGION_SPACE;
}

static void forget(struct region *region)
{
	for (uint32_t i = 0; i < region->pages; i++)
		if (region->frames[i])
			frame_free(region->frames[i]);
	memset(region, 0, sizeof(*region));
}

static int fill(struct region *region, uint32_t key, uint32_t pages)
{
	region->key = key;
	region->pages = pages;
	for (uint32_t i = 0; i < pages; i++) {
		region->frames[i] = frame_allocate(KLOS_FRAME_SHARED);
		if (!region->frames[i]) {
			forget(region);
			return ERROR_MEMORY;
		}
	}
	return 0;
}

/* Make a region. It lives until the last process that maps it lets go. */
int shared_create(uint32_t key, uint32_t pages)
{
	int result = ERROR_FULL;

	if (!pages || pages > MAX_PAGES)
		return ERROR_ARGUMENT;
	critical_enter();
	if (find(key))
		result = ERROR_ARGUMENT;
	else
		for (uint32_t i = 0; i < MAX_SHARED && result == ERROR_FULL; i++)
			if (!regions[i].pages)
				result = fill(&regions[i], key, pages);
	critical_leave();
	return result;
}

/* Map a region and return its address. */
int shared_map(uint32_t key)
{
	struct process *process = current_thread()->process;
	struct region *region;
	int result = ERROR_NOT_FOUND;

	critical_enter();
	region = find(key);
	if (region) {
		uint32_t bit = 1u << (region - regions);
		result = (int)address_of(region);
		for (uint32_t i = 0; i < region->pages; i++)
			if (page_map(process, (uint32_t)result + i * PAGE_SIZE, region->frames[i], PTE_WRITABLE)) {
				result = ERROR_MEMORY;
				break;
			}
		if (!(process->shared & bit))
			region->users++;
		process->shared |= bit;
	}
	critical_leave();
	return result;
}

static void let_go(struct process *process, struct region *region)
{
	for (uint32_t i = 0; i < region->pages; i++)
		page_unmap(process, address_of(region) + i * PAGE_SIZE);
	process->shared &= ~(1u << (region - regions));
	if (!--region->users)
		forget(region);
}

int shared_unmap(uint32_t key)
{
	struct process *process = current_thread()->process;
	struct region *region;
	int result = ERROR_NOT_FOUND;

	critical_enter();
	region = find(key);
	if (region && process->shared & 1u << (region - regions)) {
		let_go(process, region);
		result = 0;
	}
	commit(KLOS_REQUEST_FLUSH);
	critical_leave();
	return result;
}

int shared_size(uint32_t key)
{
	const struct region *region = find(key);

	return region ? (int)(region->pages * PAGE_SIZE) : ERROR_NOT_FOUND;
}

/* At the end of a process. */
void shared_release(struct process *process)
{
	for (uint32_t i = 0; i < MAX_SHARED; i++)
		if (process->shared & 1u << i)
			let_go(process, &regions[i]);
}
