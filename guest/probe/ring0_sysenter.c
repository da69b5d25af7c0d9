/* SYSENTER, SYSEXIT and SYSCALL. */
#include "machine.h"

extern uint8_t ring0_stack_top[];

void sysenter_target(void), sysenter_target_returning(void);
__asm__(".text\nsysenter_target: movl $0x5e5e,%eax\n" ROW_END
	"sysenter_target_returning: sysexit");

static void set_sysenter(uint16_t selector, void (*target)(void))
{
	write_msr(MSR_SYSENTER_CS, selector);
	write_msr(MSR_SYSENTER_ESP, (uintptr_t)ring0_stack_top);
	write_msr(MSR_SYSENTER_EIP, (uintptr_t)target);
}

static void sysenter_off(void)
{
	set_sysenter(0, sysenter_target);
}

static void sysenter_on(void)
{
	set_sysenter(SEL_KERNEL_CODE, sysenter_target);
}

static void sysenter_returning(void)
{
	set_sysenter(SEL_KERNEL_CODE, sysenter_target_returning);
}

/* SYSEXIT goes to EDX with ECX as the stack. */
#define SYSENTER(id, title, setup_, ...) \
	ROW(id, title, "movl %esp,%ecx\n movl $1f,%edx", "sysenter", "1: " RETURN(0x5e), \
	    .class = CLASS_SYSENTER, .setup = setup_, .needs = NEEDS_SEP, __VA_ARGS__)

SYSENTER(sysenter_cs_zero, "sysenter CS=0", sysenter_off, .expected = FAULT_CODE(GP, 0))
SYSENTER(sysenter, "sysenter", sysenter_on, .expected = VALUE(0x5e5e))
SYSENTER(sysexit, "sysenter+sysexit", sysenter_returning, .expected = VALUE(0x5e))

ROW(syscall_sce_clear, "syscall (EFER.SCE=0)", NOTHING, "syscall", RETURN(0x5f),
    .class = CLASS_SYSENTER, .expected = FAULT(UD))
