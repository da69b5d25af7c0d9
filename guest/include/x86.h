/* Hardware structures and the instructions that C has no words for. */
#ifndef X86_H
#define X86_H

#include <stdint.h>

/* Segment descriptor (SDM Vol. 3A, 3.4.5) and, with S = 0, TSS and LDT descriptor. */
struct descriptor {
	uint16_t limit_low;
	uint16_t base_low;
	uint8_t base_middle;
	uint8_t access;
	uint8_t limit_flags;
	uint8_t base_high;
};
_Static_assert(sizeof(struct descriptor) == 8, "descriptor");

/* Call, interrupt, trap and task gate (SDM Vol. 3A, 5.8.3, 6.11). */
struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t parameters;
	uint8_t access;
	uint16_t offset_high;
};
_Static_assert(sizeof(struct gate) == 8, "gate");

/* 32-bit TSS (SDM Vol. 3A, 8.2.1). */
struct tss {
	uint16_t link, reserved0;
	uint32_t esp0;
	uint16_t ss0, reserved1;
	uint32_t esp1;
	uint16_t ss1, reserved2;
	uint32_t esp2;
	uint16_t ss2, reserved3;
	uint32_t cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint16_t es, reserved4;
	uint16_t cs, reserved5;
	uint16_t ss, reserved6;
	uint16_t ds, reserved7;
	uint16_t fs, reserved8;
	uint16_t gs, reserved9;
	uint16_t ldt, reserved10;
	uint16_t trap, iomap_base;
};
_Static_assert(sizeof(struct tss) == 0x68, "tss");

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint32_t base;
};
_Static_assert(sizeof(struct table_register) == 6, "table register");

#define ACCESS_CORE_CODE 0x9B /* present, DPL 0, readable code, accessed */
#define ACCESS_CORE_DATA 0x93
#define ACCESS_CSOS      0xF9 /* present, DPL 3, execute-only code, accessed */
#define ACCESS_DATA3     0xF3 /* present, DPL 3, writable data, accessed */
#define ACCESS_FILLER    0x73 /* the same, not present */
#define ACCESS_TSS       0x89
#define ACCESS_LDT       0x82
#define ACCESS_CALL_GATE3 0xEC
#define ACCESS_INTERRUPT_GATE0 0x8E
#define ACCESS_INTERRUPT_GATE3 0xEE
#define ACCESS_TASK_GATE 0x85
#define FLAGS_32BIT_PAGES 0xC0 /* G, D/B */

#define EFLAGS_FIXED 0x002
#define EFLAGS_TF    0x100
#define EFLAGS_IF    0x200
#define EFLAGS_DF    0x400
#define EFLAGS_IOPL  0x3000
#define EFLAGS_NT    0x4000
#define EFLAGS_VM    0x20000
#define EFLAGS_RF    0x10000

#define PTE_PRESENT  0x001
#define PTE_WRITABLE 0x002
#define PTE_USER     0x004
#define PTE_ADDRESS  0xFFFFF000

#define PF_PRESENT 0x1
#define PF_WRITE   0x2

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t read_ss(void)
{
	uint16_t ss;
	__asm__ volatile("mov %%ss, %0" : "=r"(ss));
	return ss;
}

static inline uint64_t read_tsc(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline struct descriptor make_descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
	struct descriptor made = {
		.limit_low = limit & 0xFFFF,
		.base_low = base & 0xFFFF,
		.base_middle = base >> 16 & 0xFF,
		.access = access,
		.limit_flags = flags | (limit >> 16 & 0xF),
		.base_high = base >> 24,
	};
	return made;
}

static inline struct gate make_gate(uint16_t selector, uint32_t offset, uint8_t access)
{
	struct gate made = {
		.offset_low = offset & 0xFFFF,
		.selector = selector,
		.access = access,
		.offset_high = offset >> 16,
	};
	return made;
}

#endif
