/* Instructions that ask about a descriptor and never fault. */
#include "row.h"

#define WRITABLE SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW)
#define EXECUTE_ONLY FLAT_SEGMENT(PRESENT | DPL3 | CODE_X)
#define ABSENT FLAT_SEGMENT(DPL3 | DATA_RW)
#define ASK(id, title, instruction, ...) \
	ROW(id, title, "movl $" STRING(SEL_TEST) ",%ecx\n movl $0xbad,%eax", instruction " %ecx,%eax", NOTHING, \
	    .class = CLASS_QUERY, __VA_ARGS__)
#define VERIFY(id, title, instruction, ...) \
	ROW(id, title, "movw $" STRING(SEL_TEST) ",%cx\n movl $0,%eax", instruction " %cx", "setz %al", \
	    .class = CLASS_QUERY, __VA_ARGS__)
/* Processors differ in bits 16 to 19, where the limit is. Linux presets the accessed bit, which is bit 8. */
#ifdef HOSTPROBE
#define LAR_DEFINED 0x00f0fe00
#else
#define LAR_DEFINED 0x00f0ff00
#endif

ASK(lsl, "lsl", "lsl", .test = WRITABLE, .expected = VALUE(0xfff))
ASK(lar, "lar", "lar", .test = WRITABLE,
    .expected = VALUE_IN(LAR_DEFINED, BITS32 << 20 | (PRESENT | DPL3 | DATA_RW) << 8))
VERIFY(verr, "verr", "verr", .test = WRITABLE, .expected = VALUE(1))
VERIFY(verw, "verw", "verw", .test = WRITABLE, .expected = VALUE(1))
VERIFY(verr_execute_only, "verr execute-only", "verr", .test = EXECUTE_ONLY, .expected = VALUE(0))
ASK(lsl_absent_data, "lsl P=0 data", "lsl", .test = ABSENT, .expected = VALUE(0xffffffff))
ASK(lar_absent_data, "lar P=0 data", "lar", .test = ABSENT,
    .expected = VALUE_IN(LAR_DEFINED, (GRANULAR | BITS32) << 20 | (DPL3 | DATA_RW) << 8))

ROW(arpl, "arpl", "movl $0x20,%eax\n movl $3,%ecx", "arpl %cx,%ax", NOTHING,
    .class = CLASS_QUERY, .expected = VALUE(0x23))
