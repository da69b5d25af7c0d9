/* Attacks by instructions: ports (paper, 2.3.2), privileged instructions and tricks with EFLAGS (paper, 2.1). */
#include "test.h"

#define INSTRUCTION(name, code) \
	static void name(void *unused) \
	{ \
		(void)unused; \
		__asm__ volatile(code : : "a"(0), "c"(0), "d"(0x60) : "memory"); \
	}

INSTRUCTION(try_in, "inb %%dx, %%al")
INSTRUCTION(try_out, "outb %%al, $0xe9")
INSTRUCTION(try_in_word, "inw $0x40, %%ax")
INSTRUCTION(try_out_long, "mov $0xcf8, %%edx\n\toutl %%eax, %%dx")
INSTRUCTION(try_outs, "outsb")
INSTRUCTION(try_cli, "cli")
INSTRUCTION(try_sti, "sti")
INSTRUCTION(try_hlt, "hlt")
INSTRUCTION(try_clts, "clts")
INSTRUCTION(try_lgdt, "lgdt (%%esp)")
INSTRUCTION(try_lidt, "lidt (%%esp)")
INSTRUCTION(try_lldt, "lldt %%ax")
INSTRUCTION(try_ltr, "ltr %%ax")
INSTRUCTION(try_lmsw, "lmsw %%ax")
INSTRUCTION(try_read_cr0, "mov %%cr0, %%eax")
INSTRUCTION(try_write_cr3, "mov %%eax, %%cr3")
INSTRUCTION(try_write_dr7, "mov %%eax, %%dr7")
INSTRUCTION(try_invlpg, "invlpg (%%esp)")
INSTRUCTION(try_wbinvd, "wbinvd")
INSTRUCTION(try_rdmsr, "mov $0x174, %%ecx\n\trdmsr")
INSTRUCTION(try_wrmsr, "mov $0x174, %%ecx\n\twrmsr")
INSTRUCTION(try_int_14, "int $14")
INSTRUCTION(try_int_32, "int $32")
INSTRUCTION(try_int_255, "int $255")

struct attempt {
	const char *name;
	void (*function)(void *);
};

/* All of them must end in #GP; the first that does not is named. */
static const char *first_that_passes(const struct attempt *attempts)
{
	for (; attempts->name; attempts++)
		if (fault_of(attempts->function, 0) != VECTOR_GP)
			return attempts->name;
	return 0;
}

ATTACK(ports, "port-io", "without permission in the I/O bitmap no port is reached (2.3.2)")
{
	static const struct attempt attempts[] = {
		{ "in", try_in }, { "out", try_out }, { "inw", try_in_word }, { "outl", try_out_long }, { "outs", try_outs }, { 0, 0 },
	};
	const char *passed = first_that_passes(attempts);

	return passed ? fail("%s was not stopped", passed) : pass("5 ways, each #GP(0); the system held");
}

ATTACK(privileged, "privileged", "privileged instructions are the event core's alone")
{
	static const struct attempt attempts[] = {
		{ "cli", try_cli }, { "sti", try_sti }, { "hlt", try_hlt }, { "clts", try_clts }, { "lgdt", try_lgdt },
		{ "lidt", try_lidt }, { "lldt", try_lldt }, { "ltr", try_ltr }, { "lmsw", try_lmsw },
		{ "mov cr0", try_read_cr0 }, { "mov cr3", try_write_cr3 }, { "mov dr7", try_write_dr7 },
		{ "invlpg", try_invlpg }, { "rdmsr", try_rdmsr }, { "wrmsr", try_wrmsr }, { 0, 0 },
	};
	const char *passed = first_that_passes(attempts);

	if (passed)
		return fail("%s was not stopped", passed);
	if (fault_of(try_wbinvd, 0) == VECTOR_GP)
		return pass("16 instructions, each #GP(0); the system held");
	if (!service_enforced(KLOS_FLAG_WBINVD_REFUSED))
		return not_enforced("wbinvd passed: this processor lets ring 3 execute it");
	return fail("wbinvd was not stopped");
}

ATTACK(forged_events, "forged-events", "INT cannot forge exceptions or interrupts: their gates have DPL 0")
{
	static const struct attempt attempts[] = {
		{ "int 14", try_int_14 }, { "int 32", try_int_32 }, { "int 255", try_int_255 }, { 0, 0 },
	};
	const char *passed = first_that_passes(attempts);

	return passed ? fail("%s was not stopped", passed) : pass("int 14, 32, 255: #GP; the system held");
}

#define SET_FLAG(flag) "pushf\n\torl $" #flag ", (%%esp)\n\tpopf\n\t"
#define CALL_GATE "lcall $" TEXT(GATE_SELECTOR) ", $0\n\t"

INSTRUCTION(call_gate, CALL_GATE)
INSTRUCTION(call_gate_nt, SET_FLAG(0x4000) CALL_GATE)
INSTRUCTION(call_gate_tf, SET_FLAG(0x100) CALL_GATE)
INSTRUCTION(iret_nt, SET_FLAG(0x4000) "iret")

static int judge_gate(int vector, const char *how)
{
	return vector == VECTOR_GP ? pass("%s: #GP to the caller; the system held", how) : fail("%s: exception %d", how, vector);
}

ATTACK(gate, "gate", "the event-return gate is of no use to an application")
{
	return judge_gate(fault_of(call_gate, 0), "out of turn");
}

ATTACK(gate_nt, "gate-nt", "with NT set the core's IRET would raise #TS in ring 0")
{
	return judge_gate(fault_of(call_gate_nt, 0), "with NT set");
}

ATTACK(gate_tf, "gate-tf", "with TF set #DB hits ring 0 at the gate's first instruction")
{
	return judge_gate(fault_of(call_gate_tf, 0), "with TF set");
}

/* Interrupts are on: sooner or later one arrives between the gate and its CLI. It is served, and the caller gets its #GP. */
ATTACK(gate_if, "gate-if", "with IF set an interrupt hits ring 0 at the gate's first instruction")
{
	int first = service_ticks();

	while (service_ticks() - first < 10)
		CHECK(fault_of(call_gate, 0) == VECTOR_GP);
	return pass("10 ticks of calls, each #GP to the caller; the system held");
}

ATTACK(nt_iret, "nt-iret", "IRET with NT set looks for a task to return to: the TSS's back link stays 0")
{
	int vector = 0;

	/* An interrupt between POPF and IRET takes NT away: the core resumes nobody with it set. */
	for (int tries = 0; tries < 3 && vector != 10; tries++)
		vector = fault_of(iret_nt, 0);
	return vector == 10 ? pass("#TS to the caller; the system held") : fail("exception %d, wanted 10", vector);
}
