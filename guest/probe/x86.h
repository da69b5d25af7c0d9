/* The hardware structures of 32-bit protected mode, as the processor reads them. */
#ifndef X86_H
#define X86_H

#include <stddef.h>
#include <stdint.h>

#define PACKED __attribute__((packed))
#define PAGE_SIZE 4096u

/* Access byte of a descriptor: P, DPL, S and type together. */
enum {
	PRESENT = 0x80,
	DPL3 = 0x60,

	ACCESSED = 0x01,
	DATA_RO = 0x10,
	DATA_RW = 0x12,
	DATA_DOWN_RW = 0x16,
	CODE_X = 0x18,
	CODE_XR = 0x1a,
	CODE_CONFORMING_XR = 0x1e,

	SYSTEM_NONE = 0x00,
	SYSTEM_LDT = 0x02,
	SYSTEM_TSS32 = 0x09,
	SYSTEM_TSS32_BUSY = 0x0b,

	GATE_TASK = 0x05,
	GATE_CALL32 = 0x0c,
	GATE_INT32 = 0x0e,
};

/* Flags beside the limit's high nibble. */
enum { GRANULAR = 8, BITS32 = 4 };

struct descriptor {
	uint16_t limit_low;
	uint16_t base_low;
	uint8_t base_middle;
	uint8_t access;
	uint8_t limit_high : 4;
	uint8_t flags : 4;
	uint8_t base_high;
} PACKED;
_Static_assert(sizeof(struct descriptor) == 8, "a descriptor is 8 bytes");

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t params;
	uint8_t access;
	uint16_t offset_high;
} PACKED;
_Static_assert(sizeof(struct gate) == 8, "a gate is 8 bytes");
_Static_assert(offsetof(struct gate, access) == offsetof(struct descriptor, access),
	       "gates and descriptors share the access byte");

union entry {
	uint64_t raw;
	struct descriptor segment;
	struct gate gate;
};
_Static_assert(sizeof(union entry) == 8, "a table entry is 8 bytes");

/* What LGDT and LIDT take and SGDT and SIDT give. */
struct table_register {
	uint16_t limit;
	uint32_t base;
} PACKED;
_Static_assert(sizeof(struct table_register) == 6, "limit and base are 6 bytes");

struct tss {
	uint32_t link;
	uint32_t esp0, ss0, esp1, ss1, esp2, ss2;
	uint32_t cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs;
	uint32_t ldt;
	uint16_t trap;
	uint16_t iomap_base;
} PACKED;
_Static_assert(sizeof(struct tss) == 104, "a 32-bit TSS is 104 bytes");
_Static_assert(offsetof(struct tss, cr3) == 0x1c, "CR3 is at 1Ch");
_Static_assert(offsetof(struct tss, eax) == 0x28, "EAX is at 28h");
_Static_assert(offsetof(struct tss, es) == 0x48, "ES is at 48h");
_Static_assert(offsetof(struct tss, iomap_base) == 0x66, "the I/O map base is at 66h");

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };
enum {
	CR0_PE = 1u << 0,
	CR0_ET = 1u << 4,
	CR0_NE = 1u << 5,
	CR0_WP = 1u << 16,
	CR0_AM = 1u << 18,
	CR0_PG = 1u << 31,
};
enum { CR4_TSD = 1u << 2, CR4_UMIP = 1u << 11 };
enum { EFLAGS_FIXED = 1u << 1, EFLAGS_TF = 1u << 8, EFLAGS_IOPL3 = 3u << 12, EFLAGS_AC = 1u << 18 };
enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176 };

enum vector {
	VECTOR_DE, VECTOR_DB, VECTOR_NMI, VECTOR_BP, VECTOR_OF, VECTOR_BR, VECTOR_UD, VECTOR_NM,
	VECTOR_DF, VECTOR_CSO, VECTOR_TS, VECTOR_NP, VECTOR_SS, VECTOR_GP, VECTOR_PF, VECTOR_15,
	VECTOR_MF, VECTOR_AC, VECTOR_LAST = VECTOR_AC
};

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0,%1" ::"a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0,%1" ::"a"(value), "Nd"(port));
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid c;

	__asm__ volatile("cpuid" : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
			 : "a"(leaf), "c"(0));
	return c;
}

#endif
