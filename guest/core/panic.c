/* Ring 0's last words: an event that the event core cannot pass on. Nothing here returns. */
#include "klos_abi.h"
#include "layout.h"
#include "x86.h"

extern void core_halt(void) __attribute__((noreturn));
void core_record_panic(const struct klos_frame *frame) __attribute__((noreturn));
void core_record_double_fault(void) __attribute__((noreturn));

struct klos_panic panic_record;

static void copy(void *to, const void *from, uint32_t size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static void say(const char *text)
{
	for (; *text; text++)
		out8(0xE9, (uint8_t)*text);
}

static __attribute__((noreturn)) void halt(const char *reason, uint32_t size, uint32_t vector)
{
	panic_record.vector = vector;
	panic_record.depth = klos_info.event_depth;
	panic_record.pid = klos_info.current_pid;
	__asm__("mov %%cr0, %0" : "=r"(panic_record.cr0));
	__asm__("mov %%cr2, %0" : "=r"(panic_record.cr2));
	__asm__("mov %%cr4, %0" : "=r"(panic_record.cr4));
	copy(panic_record.reason, reason, size);
	klos_info.flags |= KLOS_FLAG_PANIC;
	say("panic in the event core: ");
	say(reason);
	say("\n");
	core_halt();
}

void core_record_panic(const struct klos_frame *frame)
{
	static const char nmi[] = "non-maskable interrupt", other[] = "event at an unexpected place in ring 0";

	copy(&panic_record.frame, frame, sizeof(*frame));
	panic_record.cr3 = frame->cr3;
	if (!(frame->cs & 3)) { /* the processor pushed no SS:ESP */
		panic_record.frame.esp = (uint32_t)&frame->esp;
		panic_record.frame.ss = CORE_DATA;
	}
	if (frame->vector == VECTOR_NMI) {
		klos_info.nmi_count++;
		halt(nmi, sizeof(nmi), VECTOR_NMI);
	}
	halt(other, sizeof(other), frame->vector);
}

void core_record_double_fault(void)
{
	static const char reason[] = "double fault";
	const struct tss *tss = (const struct tss *)TSS_ADDRESS;
	struct klos_frame *frame = &panic_record.frame;

	frame->eip = tss->eip;
	frame->cs = tss->cs;
	frame->eflags = tss->eflags;
	frame->esp = tss->esp;
	frame->ss = tss->ss;
	frame->ds = tss->ds;
	frame->es = tss->es;
	frame->fs = tss->fs;
	frame->gs = tss->gs;
	frame->eax = tss->eax;
	frame->ebx = tss->ebx;
	frame->ecx = tss->ecx;
	frame->edx = tss->edx;
	frame->esi = tss->esi;
	frame->edi = tss->edi;
	frame->ebp = tss->ebp;
	frame->esp0 = tss->esp0;
	frame->vector = VECTOR_DF;
	panic_record.cr3 = tss->cr3;
	halt(reason, sizeof(reason), VECTOR_DF);
}
