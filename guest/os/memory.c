/* Page frames: the memory manager, in ring 3 (paper, 2). Owners are processes, or one of KLOS_FRAME_*. */
#include "os.h"

#define FIRST_MEGABYTE 0x100000
#define FRAMES (OS_MAP_SIZE / PAGE_SIZE)

static uint16_t owners[FRAMES];
static uint32_t next_frame;

void memory_start(uint32_t physical_size, uint32_t image_end_physical)
{
	for (uint32_t frame = 0; frame < FRAMES; frame++) {
		uint32_t physical = frame * PAGE_SIZE;
		if (physical < FIRST_MEGABYTE || physical >= physical_size)
			owners[frame] = KLOS_FRAME_RESERVED;
		else if (physical < image_end_physical)
			owners[frame] = KLOS_FRAME_IMAGE;
		else
			owners[frame] = KLOS_FRAME_FREE;
	}
	klos_info.physical_size = physical_size;
	klos_info.total_frames = physical_size / PAGE_SIZE;
	klos_info.free_frames = (physical_size - image_end_physical) / PAGE_SIZE;
	klos_info.frames.address = (uint32_t)owners;
	klos_info.frames.count = physical_size / PAGE_SIZE;
	klos_info.frames.entry_size = sizeof(owners[0]);
	next_frame = image_end_physical / PAGE_SIZE;
}

/* A zeroed frame's physical address, or 0. */
uint32_t frame_allocate(uint16_t owner)
{
	uint32_t count = klos_info.frames.count;

	for (uint32_t tried = 0; tried < count; tried++) {
		uint32_t frame = next_frame;
		next_frame = (next_frame + 1) % count;
		if (owners[frame] != KLOS_FRAME_FREE)
			continue;
		owners[frame] = owner;
		klos_info.free_frames--;
		memset(physical_to_os(frame * PAGE_SIZE), 0, PAGE_SIZE);
		return frame * PAGE_SIZE;
	}
	return 0;
}

void frame_free(uint32_t physical)
{
	uint16_t *owner = &owners[physical / PAGE_SIZE];

	PANIC_IF(*owner == KLOS_FRAME_FREE || *owner == KLOS_FRAME_RESERVED);
	*owner = KLOS_FRAME_FREE;
	klos_info.free_frames++;
}
