/* Page faults from ring 3, and their place behind the limit check. */
#include "row.h"

#define THROUGH_PAGE(id, title, instruction, state, ...) \
	ROW(id, title, NOTHING, instruction, RETURN(0x61), \
	    .class = CLASS_PAGING, .page = { state }, .needs = NEEDS_PAGING, __VA_ARGS__)
#define READ "movb scratch+0x10,%al"
#define WRITE "movb $0x5a,scratch+0x10"

THROUGH_PAGE(user_read_absent_page, "#PF user read np", READ, PAGE_ABSENT,
	     .expected = PAGE_FAULT(PTE_U, scratch + 0x10))
THROUGH_PAGE(user_write_absent_page, "#PF user write np", WRITE, PAGE_ABSENT,
	     .expected = PAGE_FAULT(PTE_U | PTE_W, scratch + 0x10))
THROUGH_PAGE(user_read_supervisor_page, "#PF user read supervisor page", READ, PAGE_SUPERVISOR,
	     .expected = PAGE_FAULT(PTE_U | PTE_P, scratch + 0x10))
THROUGH_PAGE(user_write_read_only_page, "#PF user write ro", WRITE, PAGE_READ_ONLY,
	     .expected = PAGE_FAULT(PTE_U | PTE_W | PTE_P, scratch + 0x10))

/* Beyond the limit lies a page that is not there: both checks would fail, and the limit comes first. */
ROW(limit_before_page_fault, "limit beats page fault",
    WITH_ES(SEL_TEST), "movb %es:0x1000,%al", RETURN(0x61),
    .class = CLASS_PAGING, .test = SCRATCH_SEGMENT(PRESENT | DPL3 | DATA_RW),
    .page = { PAGE_UNTOUCHED, PAGE_ABSENT }, .needs = NEEDS_PAGING, .expected = FAULT_CODE(GP, 0))
