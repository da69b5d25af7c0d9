/* The machine at boot: interrupt controllers, command line, randomness. */
#include "boot.h"
#include "os.h"
#include "pic.h"

#define IRQS_IN_USE 0x17 /* timer, keyboard, cascade, first serial port */
#define CPUID_SYSENTER (1u << 11)
#define CPUID_RDRAND (1u << 30)

void interrupts_start(void)
{
	out8(PIC1_COMMAND, ICW1 | ICW1_IC4);
	out8(PIC2_COMMAND, ICW1 | ICW1_IC4);
	out8(PIC1_DATA, VECTOR_IRQ);
	out8(PIC2_DATA, VECTOR_IRQ + 8);
	out8(PIC1_DATA, ICW3_S2);
	out8(PIC2_DATA, ICW3_ID2);
	out8(PIC1_DATA, ICW4_UPM);
	out8(PIC2_DATA, ICW4_UPM);
	out8(PIC1_DATA, (uint8_t)~IRQS_IN_USE);
	out8(PIC2_DATA, OCW1_ALL);
	event_register(VECTOR_IRQ + 0, event_timer);
	event_register(VECTOR_IRQ + 1, event_keyboard);
	event_register(VECTOR_IRQ + 4, event_serial);
}

static int starts_with(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return 0;
	return 1;
}

static void copy_word(char *to, const char *from, size_t size)
{
	size_t i = 0;

	for (; i + 1 < size && from[i] && from[i] != ' '; i++)
		to[i] = from[i];
	to[i] = 0;
}

/* Options are separated by blanks: seed=N, run=COMMAND,... Others are ignored: boot loaders add words of their own. */
void options_parse(const char *command_line, struct boot_options *options)
{
	for (const char *word = command_line; *word; word++) {
		if (word != command_line && word[-1] != ' ')
			continue;
		if (starts_with(word, "run="))
			copy_word(options->run, word + 4, options->run_size);
		if (!starts_with(word, "seed="))
			continue;
		options->seed = parse_number(word + 5);
		options->seed_fixed = 1;
	}
}

static void cpuid(uint32_t *ecx, uint32_t *edx)
{
	uint32_t eax = 1, ebx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(*ecx), "=d"(*edx));
}

int has_sysenter(void)
{
	uint32_t ecx, edx;

	cpuid(&ecx, &edx);
	return (edx & CPUID_SYSENTER) != 0;
}

static uint32_t clock_noise(void)
{
	uint32_t noise = 0;

	for (uint8_t index = 0; index < 10; index++) {
		out8(0x70, index);
		noise = noise * 251 + in8(0x71);
	}
	return noise;
}

/* What an application can neither read nor replay: it sees no port, and not when these lines ran. */
uint32_t entropy(void)
{
	uint32_t ecx, edx, random = 0, noise = clock_noise();

	cpuid(&ecx, &edx);
	if (ecx & CPUID_RDRAND)
		__asm__ volatile("rdrand %0" : "=r"(random));
	for (int i = 0; i < 64; i++) {
		out8(0x43, 0);
		noise = (noise << 5 | noise >> 27) ^ in8(0x40) ^ (uint32_t)read_tsc();
	}
	return noise ^ random;
}
