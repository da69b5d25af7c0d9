/* The guest's own hardware breakpoints. */
#include "machine.h"

#define DR7_EXECUTE_0 0x00003	 /* G0 and L0, R/W0 = execute, LEN0 = 1 */
#define DR7_ACCESS_0 0x30003	 /* R/W0 = data reads and writes */

extern const uint8_t row_dr0_execute[];

static void watch_data(void)
{
	set_debug_register0(scratch + 0x100, DR7_ACCESS_0);
}

static void break_on_execute(void)
{
	set_debug_register0(row_dr0_execute, DR7_EXECUTE_0);
}

ROW(dr0_data, "guest DR0 data rw watch", NOTHING, "movb scratch+0x100,%al", RETURN(0xdd),
    .class = CLASS_DEBUG, .setup = watch_data, .expected = FAULT(DB))

ROW(dr0_execute, "guest DR0 exec breakpoint", "nop", "nop", RETURN(0xdd),
    .class = CLASS_DEBUG, .setup = break_on_execute, .expected = FAULT(DB))
