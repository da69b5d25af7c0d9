/* Hardware tasks: switches to the task at SEL_TASK. */
#include "machine.h"

extern uint8_t row_stack_top[];
static volatile uint32_t task_mark __asm__("task_mark") __attribute__((used));

void task_returning(void), task_ending(void);
__asm__(".text\ntask_returning: movl $0x7a5c,task_mark\n iret\n jmp task_returning\n"
	"task_ending: movl $0x7a5d,%eax\n" ROW_END);

static void set_task(void (*code)(void), uint32_t limit, uint8_t access)
{
	task_mark = 0;
	/* A ring-0 row that calls the task keeps the upper part of the stack that both share. */
	task_tss = (struct tss){
		.cr3 = page_directory(),
		.eip = (uintptr_t)code,
		.eflags = EFLAGS_FIXED,
		.esp = (uintptr_t)row_stack_top - 1024,
		.cs = SEL_KERNEL_CODE,
		.ss = SEL_KERNEL_DATA,
		.ds = SEL_KERNEL_DATA,
		.es = SEL_KERNEL_DATA,
		.fs = SEL_KERNEL_DATA,
		.gs = SEL_KERNEL_DATA,
		.iomap_base = sizeof task_tss,
	};
	gdt[SLOT_TASK] = encode((struct segment){ &task_tss, limit, access, 0 });
}

static void task_ready(void)
{
	set_task(task_returning, sizeof task_tss - 1, PRESENT | SYSTEM_TSS32);
}

static void task_busy(void)
{
	set_task(task_returning, sizeof task_tss - 1, PRESENT | SYSTEM_TSS32_BUSY);
}

static void task_absent(void)
{
	set_task(task_returning, sizeof task_tss - 1, SYSTEM_TSS32);
}

static void task_too_short(void)
{
	set_task(task_returning, sizeof task_tss - 2, PRESENT | SYSTEM_TSS32);
}

static void task_behind_gate(void)
{
	task_ready();
	idt[VECTOR_TASK_GATE] = encode_gate(NULL, SEL_TASK, PRESENT | DPL3 | GATE_TASK, 0);
}

static void task_that_ends(void)
{
	set_task(task_ending, sizeof task_tss - 1, PRESENT | SYSTEM_TSS32);
}

#define CALL_TASK(id, title, setup_, ...) \
	RING0_ROW(id, title, NOTHING, "lcall $" STRING(SEL_TASK) ",$0", "movl task_mark,%eax", \
		  .class = CLASS_TASK, .setup = setup_, __VA_ARGS__)

CALL_TASK(task_call, "hw task: lcall TSS + iret", task_ready, .expected = VALUE(0x7a5c))
CALL_TASK(task_call_busy, "hw task: lcall busy TSS", task_busy, .expected = FAULT_CODE(GP, SEL_TASK))
CALL_TASK(task_call_absent, "hw task: lcall TSS P=0", task_absent, .expected = FAULT_CODE(NP, SEL_TASK))
CALL_TASK(task_short_limit, "hw task: TSS limit 0x66", task_too_short, .expected = FAULT_CODE(TS, SEL_TASK))

ROW(task_gate_from_ring3, "hw task: int via task gate from ring3",
    NOTHING, "int $" STRING(VECTOR_TASK_GATE), "movl task_mark,%eax",
    .class = CLASS_TASK, .setup = task_behind_gate, .expected = VALUE(0x7a5c))

RING0_ROW(task_jmp, "hw task: ljmp TSS", NOTHING, "ljmp $" STRING(SEL_TASK) ",$0", NOTHING,
	  .class = CLASS_TASK, .setup = task_that_ends, .expected = VALUE(0x7a5d))
