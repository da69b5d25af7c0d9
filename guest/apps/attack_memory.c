/*
 * Attacks on OS memory with what an application has: DSAPP, SS and CSOS (paper, 2.2, 2.3.1); on the I/O bitmap (paper, 2.3.2);
 * on tables that SGDT and the like tell of (paper, 2.3.3). Each aims at a scratch place and undoes what lands.
 */
#include "test.h"
#include "x86.h"

extern uint32_t attack_scratch;

static void read_os(void *address)
{
	(void)*(volatile uint32_t *)address;
}

static void write_os(void *address)
{
	volatile uint32_t *word = address;

	*word = *word;
}

static void write_only(void *address)
{
	*(volatile uint32_t *)address = 0x5AFE5AFE;
}

static void read_through_cs(void *address)
{
	__asm__ volatile("mov %%cs:(%0), %%eax" : : "r"(address) : "eax");
}

static void write_through_cs(void *address)
{
	__asm__ volatile("movl $0x5afe5afe, %%cs:(%0)" : : "r"(address) : "memory");
}

static void push_beyond(void *address)
{
	__asm__ volatile("mov %%esp, %%esi\n\tmov %0, %%esp\n\tpush $0x5afe5afe\n\tmov %%esi, %%esp"
			 : : "r"(address) : "esi", "memory");
}

/* The verdict on an access that only a limit or a segment type can stop. */
static int judge(int vector, uint32_t wanted, const char *access)
{
	if (vector == (int)wanted)
		return pass("%s: exception %u; the system held", access, wanted);
	if (vector == NO_FAULT && !service_enforced(KLOS_FLAG_ENFORCED))
		return not_enforced("%s passed: this processor checks no limits and types", access);
	return fail("%s: exception %d, wanted %u", access, vector, wanted);
}

ATTACK(dsapp_read, "dsapp-read", "DSAPP's limit keeps applications from reading OS memory (2.2)")
{
	return judge(fault_of(read_os, (void *)&klos_info), VECTOR_GP, "a read past DSAPP's limit");
}

ATTACK(dsapp_write, "dsapp-write", "DSAPP's limit keeps applications from writing OS memory (2.2)")
{
	return judge(fault_of(write_only, &attack_scratch), VECTOR_GP, "a write past DSAPP's limit");
}

ATTACK(stack_beyond, "stack-beyond", "the stack segment has DSAPP's limit too")
{
	uint32_t code;
	int end;

	if (has_argument("child")) {
		push_beyond(&attack_scratch + 1);
		return 0;
	}
	end = run_self("child", &code);
	return judge(end == 0 ? NO_FAULT : end - ENDED_BY(0), VECTOR_SS, "a push past the stack's limit");
}

ATTACK(cs_read, "cs-override-read", "CSOS is execute-only: no data comes out of it (2.2)")
{
	return judge(fault_of(read_through_cs, (void *)&klos_info), VECTOR_GP, "a read through CS");
}

ATTACK(cs_write, "cs-override-write", "no code segment is writable")
{
	return judge(fault_of(write_through_cs, &attack_scratch), VECTOR_GP, "a write through CS");
}

ATTACK(bitmap_write, "bitmap-write", "the I/O bitmap is out of reach of applications (2.3.2)")
{
	return judge(fault_of(write_os, (void *)(IOMAP + 0x1000)), VECTOR_GP, "a write to the I/O bitmap");
}

ATTACK(table_write, "table-write", "SGDT, SIDT, SLDT and STR tell addresses, which DSAPP does not reach")
{
	struct table_register gdtr, idtr;
	uint16_t ldtr, tr;

	__asm__ volatile("sgdt %0\n\tsidt %1\n\tsldt %2\n\tstr %3" : "=m"(gdtr), "=m"(idtr), "=m"(ldtr), "=m"(tr));
	CHECK(gdtr.base >= OS_BASE && idtr.base >= OS_BASE && ldtr == LDT_SELECTOR && tr == TSS_SELECTOR);
	return judge(fault_of(write_os, (void *)(gdtr.base + DSAPP - 3)), VECTOR_GP, "a write to the GDT that SGDT named");
}
