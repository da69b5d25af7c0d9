/* Data accesses through a segment: limit, type, null. What lands without being allowed hits the scratch area. */
#include "row.h"

#define BYTES(access) SCRATCH_SEGMENT(PRESENT | DPL3 | (access))
#define PAGES(access) { scratch, 1, PRESENT | DPL3 | (access), GRANULAR | BITS32 }

#define THROUGH_ES(id, title, offset, instruction, after, ...) \
	ROW(id, title, "movl $" STRING(offset) ",%ebx\n" WITH_ES(SEL_TEST) "\n movl $0xee,%eax", \
	    instruction, after, .class = CLASS_DATA, __VA_ARGS__)
#define READ "movzbl %es:(%ebx),%eax"
#define WRITE "movb $0x5a,%es:(%ebx)"

THROUGH_ES(read_at_limit, "read at limit", 0xfff, READ, NOTHING,
	   .test = BYTES(DATA_RW), .expected = VALUE(0xff))
THROUGH_ES(read_past_limit_byte, "read past limit (byte gran)", 0x1000, READ, NOTHING,
	   .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(write_past_limit, "write past limit", 0x1000, WRITE, RETURN(0x5a),
	   .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(read_straddling_limit, "dword read straddling limit", 0xffd, "movl %es:(%ebx),%eax", NOTHING,
	   .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(read_wrapping_4g, "dword read wrapping 4G in limited seg", 0xfffffffe, "movl %es:(%ebx),%eax", NOTHING,
	   .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(read_past_limit_page, "read past limit (page gran)", 0x2000, READ, NOTHING,
	   .test = PAGES(DATA_RW), .expected = FAULT_CODE(GP, 0))
/* mov %al,moffs has an encoding and a path of its own. */
THROUGH_ES(moffs_past_limit, "mov moffs past limit", 0x2000, ".byte 0x26,0xa0\n .long 0x2000", RETURN(0x60),
	   .test = PAGES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(read_at_limit_page, "read at limit (page gran)", 0x1fff, READ, NOTHING,
	   .test = PAGES(DATA_RW), .expected = VALUE(0))
ROW(rep_movsb_crossing_limit, "rep movsb crossing limit",
    WITH_ES(SEL_TEST) "\n movl $scratch,%esi\n movl $0xff8,%edi\n movl $16,%ecx", "rep movsb", RETURN(0x77),
    .class = CLASS_DATA, .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(fnstenv_crossing_limit, "fnstenv crossing limit", 0xff8, "fnstenv %es:(%ebx)", RETURN(0xf0),
	   .test = BYTES(DATA_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(expand_down_below_limit, "expand-down: below limit", 0x800, READ, NOTHING,
	   .test = BYTES(DATA_DOWN_RW), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(expand_down_above_limit, "expand-down: above limit", 0x1800, READ, NOTHING,
	   .test = BYTES(DATA_DOWN_RW), .expected = VALUE(0))
THROUGH_ES(write_read_only, "write to read-only data", 0x10, WRITE, RETURN(0x5a),
	   .test = BYTES(DATA_RO), .expected = FAULT_CODE(GP, 0))
THROUGH_ES(read_read_only, "read from read-only data", 0x10, READ, NOTHING,
	   .test = BYTES(DATA_RO), .expected = VALUE(0x10))

#define THROUGH_NULL_ES(id, title, instruction, after, ...) \
	ROW(id, title, "movl $scratch+0x10,%ebx\n" WITH_ES(0), instruction, after, \
	    .class = CLASS_DATA, .expected = FAULT_CODE(GP, 0))

THROUGH_NULL_ES(read_null_es, "read via null ES", READ, NOTHING)
THROUGH_NULL_ES(write_null_es, "write via null ES", WRITE, RETURN(0x5a))

#define THROUGH_CS(id, title, instruction, after, access, ...) \
	ROW(id, title, "movl $scratch+0x20,%ebx", instruction, after, .class = CLASS_DATA, .cs = SEL_TEST, \
	    .test = FLAT_SEGMENT(PRESENT | DPL3 | (access)), __VA_ARGS__)
#define READ_CODE "movzbl %cs:(%ebx),%eax"
#define WRITE_CODE "movb $0x33,%cs:(%ebx)"

THROUGH_CS(read_execute_only_cs, "read via execute-only CS override", READ_CODE, NOTHING, CODE_X,
	   .expected = FAULT_CODE(GP, 0))
THROUGH_CS(write_execute_only_cs, "write via execute-only CS override", WRITE_CODE, RETURN(0x33), CODE_X,
	   .expected = FAULT_CODE(GP, 0))
THROUGH_CS(read_readable_cs, "read via readable CS override", READ_CODE, NOTHING, CODE_XR,
	   .expected = VALUE(0x20))
THROUGH_CS(write_readable_cs, "write via readable CS override", WRITE_CODE, RETURN(0x33), CODE_XR,
	   .expected = FAULT_CODE(GP, 0))
