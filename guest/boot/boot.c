/* From multiboot to ring 3: the operating system start-up phase (paper, 2.1). */
#include "boot.h"
#include "os.h"

#define MULTIBOOT_HAS_MEMORY 0x1
#define MULTIBOOT_HAS_COMMAND_LINE 0x4
#define SMALLEST_MEMORY 0x1000000
#define TICK_RATE 200
#define CR0_VALUE 0x80010037 /* PG, WP, NE, ET, EM, MP, PE: the FPU is nobody's, its use raises #NM */

struct multiboot {
	uint32_t flags;
	uint32_t memory_lower, memory_upper; /* KiB */
	uint32_t boot_device;
	uint32_t command_line;
};

extern char image_end[];
extern struct klos_panic panic_record;
void boot_main(const struct multiboot *multiboot);

static uint32_t memory_size(const struct multiboot *multiboot)
{
	uint32_t kilobytes = multiboot->flags & MULTIBOOT_HAS_MEMORY ? multiboot->memory_upper + 1024 : 0;

	if (kilobytes > OS_MAP_SIZE / 1024)
		return OS_MAP_SIZE;
	return kilobytes * 1024 < SMALLEST_MEMORY ? SMALLEST_MEMORY : (kilobytes * 1024) & PTE_ADDRESS;
}

static void enter_address_space(void)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(klos_info.os_page_directory) : "memory");
	__asm__ volatile("mov %0, %%cr4" : : "r"(0));
	__asm__ volatile("mov %0, %%cr0" : : "r"(CR0_VALUE));
}

/* Leave ring 0 as the end of an event that never was: what follows is the first thread. */
static __attribute__((noreturn)) void enter_ring3(void)
{
	static struct klos_frame frame;

	frame.vector = VECTOR_COMMIT;
	frame.esp0 = ((struct tss *)TSS_ADDRESS)->esp0;
	frame.cr3 = klos_info.os_page_directory;
	klos_info.event_depth = 1;
	schedule_soon();
	schedule(&frame);
	__asm__ volatile("lea core_stack_top - %c1, %%edi\n\t"
			 "mov %%edi, %%esp\n\t"
			 "mov %2, %%ecx\n\t"
			 "rep movsl\n\t"
			 "jmp core_leave"
			 : : "S"(&frame), "i"(FRAME_SIZE), "i"(FRAME_SIZE / 4) : "edi", "ecx", "memory");
	__builtin_unreachable();
}

void boot_main(const struct multiboot *multiboot)
{
	static char command_line[256];
	struct boot_options options = { .run = run_option, .run_size = sizeof(run_option) };
	uint32_t memory = memory_size(multiboot);
	struct process *system;

	if (multiboot->flags & MULTIBOOT_HAS_COMMAND_LINE)
		string_copy(command_line, (const char *)multiboot->command_line, sizeof(command_line));
	options_parse(command_line, &options);
	random_seed(options.seed_fixed ? options.seed : entropy());
	klos_info.flags = (options.seed_fixed ? KLOS_FLAG_SEED_FIXED : 0) | (has_sysenter() ? KLOS_FLAG_SYSENTER : 0);
	klos_info.panic = (uint32_t)&panic_record;
	reports_start();
	mailbox_start();

	memory_start(memory, (uint32_t)image_end - OS_BASE);
	paging_start(memory);
	tables_build();
	events_start();
	faults_start();
	dsos_place();
	system = process_system("system");
	enter_address_space();
	tables_load();
	interrupts_start();
	screen_clear();
	serial_start();
	timer_start(TICK_RATE);
	PANIC_IF(!thread_create(system, (uint32_t)system_main, 0));
	klos_info.flags |= KLOS_FLAG_BOOTED;
	enter_ring3();
}
