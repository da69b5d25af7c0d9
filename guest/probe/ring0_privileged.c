/* Instructions that EFLAGS.IOPL or CR4 make privileged or not. */
#include "machine.h"

static void set_tsd(void)
{
	write_cr4(read_cr4() | CR4_TSD);
}

static void set_umip(void)
{
	write_cr4(read_cr4() | CR4_UMIP);
}

ROW(cli_iopl3, "cli IOPL3", NOTHING, "cli", RETURN(0xc1),
    .class = CLASS_PRIVILEGED, .eflags = EFLAGS_IOPL3, .expected = VALUE(0xc1))

ROW(rdtsc_tsd, "rdtsc CR4.TSD", NOTHING, "rdtsc", RETURN(7),
    .class = CLASS_PRIVILEGED, .setup = set_tsd, .expected = FAULT_CODE(GP, 0))

ROW(rdpmc, "rdpmc CPL3 PCE=0", "xorl %ecx,%ecx", "rdpmc", RETURN(8),
    .class = CLASS_PRIVILEGED, .expected = FAULT_CODE(GP, 0))

/* Of the table registers the base is compared, which follows the limit. */
#define STORE_BASE(id, title, instruction, ...) \
	ROW(id, title, NOTHING, instruction " scratch+16", "movl scratch+18,%eax", \
	    .class = CLASS_PRIVILEGED, __VA_ARGS__)
#define STORE_WORD(id, title, instruction, ...) \
	ROW(id, title, "xorl %eax,%eax", instruction " %eax", NOTHING, .class = CLASS_PRIVILEGED, __VA_ARGS__)
#define UMIP .setup = set_umip, .needs = NEEDS_UMIP, .expected = FAULT_CODE(GP, 0)

STORE_BASE(sgdt, "sgdt CPL3 UMIP off", "sgdt", .expected = VALUE((uintptr_t)gdt))
STORE_BASE(sidt, "sidt CPL3", "sidt", .expected = VALUE((uintptr_t)idt))
STORE_WORD(sldt, "sldt CPL3", "sldt", .expected = VALUE(SEL_LDT))
STORE_WORD(str, "str CPL3", "str", .expected = VALUE(SEL_TSS))
/* The upper half is undefined; of the lower, MP, EM and NE differ with the FPU. */
STORE_WORD(smsw, "smsw CPL3", "smsw", .expected = VALUE_IN(CR0_PE, CR0_PE))

STORE_BASE(umip_sgdt, "sgdt UMIP on", "sgdt", UMIP)
STORE_BASE(umip_sidt, "sidt UMIP on", "sidt", UMIP)
STORE_WORD(umip_sldt, "sldt UMIP on", "sldt", UMIP)
STORE_WORD(umip_str, "str UMIP on", "str", UMIP)
STORE_WORD(umip_smsw, "smsw UMIP on", "smsw", UMIP)
