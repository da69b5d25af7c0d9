/* A frozen KLOS for tests: every structure of klos_abi.h filled in by the C compiler, tables written by hand. */
#include "klos_abi.h"

#define AT(section_name) __attribute__((section(section_name), used))
#define ADDRESS(thing) ((uint32_t)&(thing))
#define ARRAY(thing) { ADDRESS(thing), sizeof(thing) / sizeof((thing)[0]), sizeof((thing)[0]) }

#define CSOS 0x1B
#define DSAPP 0x23
#define DSOS 0x57 /* LDT[10], requested privilege level 3 */

/* The linker script puts these at fixed addresses, so that descriptors can be written down. */
AT(".gdt") uint64_t gdt[16] = {
	0,
	0x00CF9B000000FFFF, /* event core code: DPL 0, 4 GiB, readable */
	0x00CF93000000FFFF, /* event core data: DPL 0, 4 GiB */
	0x00CFF9000000FFFF, /* CSOS: DPL 3, 4 GiB, execute-only */
	0x00CBF3000000FFFF, /* DSAPP: DPL 3, up to 0xBFFFFFFF */
	0xC0008B105F802068, /* TSS at 0xC0105F80, busy */
	0xC0008210200000FF, /* LDT at 0xC0102000 */
	0xC010EC0000084004, /* call gate, DPL 3, to 0008:C0104004 */
	0xC000891070000067, /* TSS of the double fault */
};
AT(".ldt") uint64_t ldt[32] = { [10] = 0x00CFF3000000FFFF /* DSOS */ };

#define STUB(n) (0xC0104100u + 16 * (n))
#define DPL(n) ((n) == 3 || (n) == 48 || (n) == 49 ? 3ull : 0ull)
#define GATE(n) (n) == 8 ? 0x0000850000400000 /* task gate */ : \
	0xC010ull << 48 | 0x8E000008ull << 16 | DPL(n) << 45 | (STUB(n) & 0xFFFF)
#define FOUR(what, n) what(n), what((n) + 1), what((n) + 2), what((n) + 3)
#define SIXTEEN(what, n) FOUR(what, n), FOUR(what, (n) + 4), FOUR(what, (n) + 8), FOUR(what, (n) + 12)
#define QUARTER(what, n) SIXTEEN(what, n), SIXTEEN(what, (n) + 16), SIXTEEN(what, (n) + 32), SIXTEEN(what, (n) + 48)
#define ALL(what) { QUARTER(what, 0), QUARTER(what, 64), QUARTER(what, 128), QUARTER(what, 192) }
#define HANDLER(n) ((n) == 32 ? 0xC0108100u : 0xC0108040u)

AT(".idt") uint64_t idt[256] = ALL(GATE);
AT(".data") uint32_t stub_table[256] = ALL(STUB);
AT(".data") uint32_t handlers[256] = ALL(HANDLER);
AT(".tss") uint16_t tss[0x68 / 2] = { [0x66 / 2] = 0x68 };

AT(".data") uint32_t prologues[3] = { DSOS, DSOS, DSAPP };
AT(".data") uint16_t cell = DSOS;
AT(".data") struct klos_site sites[4] = {
	{ ADDRESS(prologues[0]), 0xC0108200, 0xC0108210, 0xC0108240, KLOS_SITE_DESIGN_B, 4, 0, "null" },
	{ ADDRESS(prologues[1]), 0xC0108300, 0xC0108310, 0xC0108340, KLOS_SITE_DESIGN_A, 4, 0xFFFFFFFF, "trampoline" },
	{ ADDRESS(prologues[2]), 0xC0108400, 0xC0108410, 0xC0108440, KLOS_SITE_BARE, 4, 0xFFFFFFFF, "bare" },
	{ ADDRESS(cell), 0, 0, 0, KLOS_SITE_EVENT_CORE, 2, 0xFFFFFFFF, "cell" },
};
AT(".data") struct klos_service services[2] = {
	{ 0, 0xC0108500, 0xC0108200, 0xC0108240, "null" },
	{ 1, 0xC0108600, 0xC0108240, 0xC0108280, "a name of 23 characters" },
};
AT(".data") uint32_t service_table[2] = { 0xC0108500, 0xC0108600 };

/* The guest keeps more of a process and a thread than it tells. */
struct own_process { struct klos_process public; uint32_t secret[5]; };
struct own_thread { struct klos_thread public; struct klos_frame frame; };
AT(".data") struct own_process processes[4] = {
	{ { .pid = 1, .state = KLOS_STATE_READY, .cr3 = 0x7000, .threads = 1, .flags = KLOS_PROCESS_SYSTEM,
	    .end_vector = 0xFFFFFFFF, .name = "system" }, { 1, 2, 3, 4, 5 } },
	{ { .pid = 2, .state = KLOS_STATE_RUNNING, .parent = 1, .cr3 = 0x8000, .iomap_frames = { 0x9000, 0xA000 },
	    .threads = 2, .frames = 3, .heap_start = 0x10000000, .heap_end = 0x10002000, .faults = 4, .messages = 5,
	    .end_vector = 0xFFFFFFFF, .name = "talk", .arguments = "loud \x1b[31m" } },
	{ { .pid = 3, .state = KLOS_STATE_ENDED, .end_vector = 14, .exit_code = 9, .name = "gone" } },
};
AT(".data") struct own_thread threads[4] = {
	{ { .tid = 1, .pid = 1, .state = KLOS_STATE_BLOCKED, .wait = KLOS_WAIT_EVENT, .context = ADDRESS(threads[0].frame) },
	  { .eip = 0xC0108700, .esp = 0xF0001000, .cs = CSOS } },
	{ { .tid = 2, .pid = 2, .state = KLOS_STATE_RUNNING, .context = ADDRESS(threads[1].frame) }, { .eip = 0xBAD } },
	{ { .tid = 3, .pid = 2, .state = KLOS_STATE_READY, .priority = 7, .context = 0x13 } },
};
AT(".data") uint16_t frames[8] = {
	KLOS_FRAME_RESERVED, KLOS_FRAME_IMAGE, KLOS_FRAME_IMAGE, KLOS_FRAME_OS, 2, 2, 2, KLOS_FRAME_FREE,
};
AT(".data") struct klos_report selftests[3] = {
	{ "messages", KLOS_RESULT_PASS, 1, "messages arrive in order", "all eight" },
	{ "sleep", KLOS_RESULT_FAIL, 1, "a thread wakes in time", "too late" },
	{ "never", KLOS_RESULT_NONE, 0, "", "" },
};
AT(".data") struct klos_report attacks[2] = {
	{ "lar-scan", KLOS_RESULT_PASS, 0, "overlooked", "found" },
	{ "overrun", KLOS_RESULT_NOT_ENFORCED, 0, "stopped by the limit", "not here" },
};
AT(".data") struct klos_bench bench[3] = {
	{ "trap", "best", 100, 40, 44, 45, 90, 3 },
	{ "design_b", "best", 100, 8, 11, 12, 20, 3 },
};
AT(".data") struct klos_mailbox mailbox;
AT(".data") struct klos_panic panic = { .vector = 14, .pid = 2, .tid = 2, .depth = 1, .reason = "for a test" };

AT(".info") volatile struct klos_info klos_info = {
	.magic = "KLOSINFO", .version = KLOS_ABI_VERSION, .size = sizeof(struct klos_info),
	.sequence = 2, .flags = KLOS_FLAG_BOOTED | KLOS_FLAG_READY, .build_id = "0123456789abcdef",
	.csos = CSOS, .dsapp = DSAPP, .dsos = DSOS, .core_code = 0x08, .core_data = 0x10,
	.tss_selector = 0x28, .ldt_selector = 0x30, .gate_selector = 0x3B, .fault_tss_selector = 0x40,
	.commit_vector = 48, .trap_vector = 49, .irq_vector = 32,
	.gdt = ADDRESS(gdt), .gdt_limit = sizeof(gdt) - 1, .ldt = ADDRESS(ldt), .ldt_limit = sizeof(ldt) - 1,
	.idt = ADDRESS(idt), .idt_limit = sizeof(idt) - 1, .tss = ADDRESS(tss), .tss_limit = 0x2068,
	.iomap = ADDRESS(tss) + 0x68, .iomap_size = 0x2000,
	.app_base = 0x400000, .app_top = 0xC0000000, .os_base = 0xC0000000, .physical_size = 0x200000,
	.os_text_start = 0xC0108000, .os_text_end = 0xC0109000, .core_text_start = 0xC0104000, .core_text_end = 0xC0105200,
	.return_gate = 0xC0104004, .frame_size = sizeof(struct klos_frame),
	.stubs = ARRAY(stub_table), .handlers = ARRAY(handlers),
	.current_thread = ADDRESS(threads[1]), .current_pid = 2,
	.service_table = ARRAY(service_table), .services = ARRAY(services), .sites = ARRAY(sites),
	.processes = ARRAY(processes), .threads = ARRAY(threads), .frames = ARRAY(frames),
	.selftests = ARRAY(selftests), .attacks = ARRAY(attacks), .bench = ARRAY(bench),
	.mailbox = ADDRESS(mailbox), .panic = ADDRESS(panic),
	.random_state = 0x8000000000000001,
};
