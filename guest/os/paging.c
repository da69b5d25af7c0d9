/*
 * Page directories. Every process has its own (paper, 1, 2.2); the entries for OS memory are the same in all but the last
 * window, where each process has its own I/O bitmap behind the common TSS (paper, 2.3.2).
 */
#include "os.h"

#define ENTRIES 1024
#define ALL_OS (PTE_PRESENT | PTE_WRITABLE | PTE_USER)
#define DIRECTORY_INDEX(linear) ((linear) >> 22)
#define TABLE_INDEX(linear) ((linear) >> 12 & 0x3FF)
#define OS_STACK_PAGES 2
#define OS_STACK_SPACE ((OS_STACK_PAGES + 1) * PAGE_SIZE) /* with an unmapped guard page below */

extern char core_text_start[], core_text_end[];
extern char core_stack_bottom[], handler_stack_bottom[], fault_stack_top[];

static uint32_t *os_directory;
static uint32_t tss_frame, terminator_frame;

static uint32_t *table_of(uint32_t directory_entry)
{
	return physical_to_os(directory_entry & PTE_ADDRESS);
}

/* The event core's code is for ring 0 alone and never written. */
static uint32_t os_page_flags(uint32_t linear)
{
	if (linear >= (uint32_t)core_text_start && linear < (uint32_t)core_text_end)
		return PTE_PRESENT;
	return ALL_OS;
}

static void map_physical(uint32_t size)
{
	for (uint32_t physical = 0; physical < size; physical += PAGE_SIZE) {
		uint32_t linear = OS_BASE + physical;
		uint32_t *entry = &os_directory[DIRECTORY_INDEX(linear)];
		if (!*entry)
			*entry = frame_allocate(KLOS_FRAME_OS) | ALL_OS;
		table_of(*entry)[TABLE_INDEX(linear)] = physical | os_page_flags(linear);
	}
}

void paging_start(uint32_t physical_size)
{
	uint32_t directory = frame_allocate(KLOS_FRAME_OS);

	os_directory = physical_to_os(directory);
	klos_info.os_page_directory = directory;
	map_physical(physical_size);
	os_directory[DIRECTORY_INDEX(STACKS_BASE)] = frame_allocate(KLOS_FRAME_OS) | ALL_OS;
	tss_frame = frame_allocate(KLOS_FRAME_OS);
	terminator_frame = frame_allocate(KLOS_FRAME_OS);
	*(uint8_t *)physical_to_os(terminator_frame) = 0xFF;
}

static int window_create(struct process *process, uint16_t owner)
{
	uint32_t table_frame = frame_allocate(owner);
	if (!table_frame)
		return ERROR_MEMORY;
	process->directory[DIRECTORY_INDEX(WINDOW_BASE)] = table_frame | ALL_OS;
	uint32_t *table = physical_to_os(table_frame);
	table[0] = tss_frame | ALL_OS;
	table[3] = terminator_frame | ALL_OS;
	for (int i = 0; i < 2; i++) {
		uint32_t frame = frame_allocate(owner);
		if (!frame)
			return ERROR_MEMORY;
		memset(physical_to_os(frame), 0xFF, PAGE_SIZE);
		table[1 + i] = frame | ALL_OS;
		process->public.iomap_frames[i] = frame;
		process->public.frames++;
	}
	process->public.frames++;
	return 0;
}

/* The system process takes the directory that boot made; all others get a new one. */
int directory_create(struct process *process)
{
	int is_system = process->public.flags & KLOS_PROCESS_SYSTEM;
	uint16_t owner = is_system ? KLOS_FRAME_OS : (uint16_t)process->public.pid;

	if (is_system) {
		process->public.cr3 = klos_info.os_page_directory;
		process->directory = os_directory;
		return window_create(process, owner);
	}
	process->public.cr3 = frame_allocate(owner);
	if (!process->public.cr3)
		return ERROR_MEMORY;
	process->directory = physical_to_os(process->public.cr3);
	process->public.frames++;
	memcpy(&process->directory[DIRECTORY_INDEX(OS_BASE)], &os_directory[DIRECTORY_INDEX(OS_BASE)],
	       (ENTRIES - DIRECTORY_INDEX(OS_BASE)) * sizeof(uint32_t));
	process->directory[DIRECTORY_INDEX(WINDOW_BASE)] = 0;
	return window_create(process, owner);
}

static void free_table(struct process *process, uint32_t directory_entry)
{
	uint32_t *table = table_of(directory_entry);

	for (uint32_t i = 0; i < ENTRIES; i++)
		if (table[i] & PTE_PRESENT) {
			const uint16_t *owner = (const uint16_t *)klos_info.frames.address + (table[i] >> 12);
			if (*owner == process->public.pid)
				frame_free(table[i] & PTE_ADDRESS);
		}
	frame_free(directory_entry & PTE_ADDRESS);
}

/* Free the directory with all frames that the process owns. It must not be the one that CR3 holds. */
void directory_destroy(struct process *process)
{
	if (!process->public.cr3)
		return;
	for (uint32_t i = 0; i < DIRECTORY_INDEX(OS_BASE); i++)
		if (process->directory[i])
			free_table(process, process->directory[i]);
	if (process->directory[DIRECTORY_INDEX(WINDOW_BASE)])
		free_table(process, process->directory[DIRECTORY_INDEX(WINDOW_BASE)]);
	frame_free(process->public.cr3);
	process->public.cr3 = 0;
	process->public.frames = 0;
	process->directory = 0;
}

uint32_t *page_entry(uint32_t *directory, uint32_t linear)
{
	uint32_t entry = directory[DIRECTORY_INDEX(linear)];

	return entry & PTE_PRESENT ? &table_of(entry)[TABLE_INDEX(linear)] : 0;
}

int page_map(struct process *process, uint32_t linear, uint32_t physical, uint32_t flags)
{
	uint32_t *entry = &process->directory[DIRECTORY_INDEX(linear)];

	if (!*entry) {
		uint32_t table = frame_allocate((uint16_t)process->public.pid);
		if (!table)
			return ERROR_MEMORY;
		process->public.frames++;
		*entry = table | ALL_OS;
	}
	table_of(*entry)[TABLE_INDEX(linear)] = physical | flags | PTE_PRESENT | PTE_USER;
	return 0;
}

/* Take a page out and return its frame, or 0. The caller sees to the TLB (KLOS_REQUEST_FLUSH). */
uint32_t page_unmap(struct process *process, uint32_t linear)
{
	uint32_t *entry = page_entry(process->directory, linear);
	uint32_t frame = entry && *entry & PTE_PRESENT ? *entry & PTE_ADDRESS : 0;

	if (frame)
		*entry = 0;
	return frame;
}

/* Zeroed pages; those that are mapped already (the stack of a thread that ended) stay. */
int pages_allocate(struct process *process, uint32_t linear, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t *entry = page_entry(process->directory, linear + i * PAGE_SIZE);
		if (entry && *entry & PTE_PRESENT) {
			memset(physical_to_os(*entry & PTE_ADDRESS), 0, PAGE_SIZE);
			continue;
		}
		uint32_t frame = frame_allocate((uint16_t)process->public.pid);
		if (frame && page_map(process, linear + i * PAGE_SIZE, frame, PTE_WRITABLE) == 0) {
			process->public.frames++;
			continue;
		}
		if (frame)
			frame_free(frame);
		pages_free(process, linear, i);
		return ERROR_MEMORY;
	}
	return 0;
}

void pages_free(struct process *process, uint32_t linear, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = page_unmap(process, linear + i * PAGE_SIZE);
		if (frame) {
			frame_free(frame);
			process->public.frames--;
		}
	}
}

/* Stacks for services: mapped when a slot is first used and kept, so that no TLB ever holds a stale one. */
int os_stack_allocate(uint32_t slot, uint32_t *bottom, uint32_t *top)
{
	*bottom = STACKS_BASE + slot * OS_STACK_SPACE + PAGE_SIZE;
	*top = *bottom + OS_STACK_PAGES * PAGE_SIZE;
	for (uint32_t linear = *bottom; linear < *top; linear += PAGE_SIZE) {
		uint32_t *entry = page_entry(os_directory, linear);
		if (*entry)
			continue;
		uint32_t frame = frame_allocate(KLOS_FRAME_OS);
		if (!frame)
			return ERROR_MEMORY;
		*entry = frame | ALL_OS;
	}
	return 0;
}

static int user_range(uint32_t address, uint32_t size, uint32_t wanted)
{
	uint32_t *directory = current_thread()->process->directory;

	if (!size)
		return 1;
	if (address >= APP_TOP || size > APP_TOP - address)
		return 0;
	for (uint32_t page = address & PTE_ADDRESS; page < address + size; page += PAGE_SIZE) {
		uint32_t *entry = page_entry(directory, page);
		if (!entry || (*entry & wanted) != wanted)
			return 0;
	}
	return 1;
}

int user_readable(const void *address, uint32_t size)
{
	return user_range((uint32_t)address, size, PTE_PRESENT | PTE_USER);
}

int user_writable(void *address, uint32_t size)
{
	return user_range((uint32_t)address, size, PTE_PRESENT | PTE_USER | PTE_WRITABLE);
}

/* Copy an application's string, cut to `size`; an error where it is not readable. */
int user_string(const char *text, char *to, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!user_readable(text + i, 1))
			return ERROR_POINTER;
		to[i] = text[i];
		if (!to[i])
			return (int)i;
	}
	to[size - 1] = 0;
	return (int)size - 1;
}
