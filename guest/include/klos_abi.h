/*
 * What KLOS tells a debugger about itself.
 *
 * `struct klos_info` lies at the start of a page that every address space maps. A debugger finds it by the symbol
 * `klos_info`, or by looking for the magic at 16-byte boundaries. Every array is described by address, number of entries
 * and size of an entry, so that a reader of an older version can skip fields that were added at the end of an entry.
 * All addresses are linear. All fields are little-endian and of fixed width; nothing here needs padding.
 */
#ifndef KLOS_ABI_H
#define KLOS_ABI_H

#define KLOS_ABI_VERSION 1

/* klos_info.flags */
#define KLOS_FLAG_BOOTED     0x0001 /* tables, paging and the event core stand; ring 3 runs */
#define KLOS_FLAG_READY      0x0002 /* klos_ready was executed */
#define KLOS_FLAG_PANIC      0x0004 /* the panic record is filled in */
#define KLOS_FLAG_SEED_FIXED 0x0008 /* the seed came from the command line */
#define KLOS_FLAG_SYSENTER   0x0010 /* the processor has SYSENTER */
#define KLOS_FLAG_ENFORCED   0x0020 /* the processor enforces segment limits (measured at boot) */
#define KLOS_FLAG_WBINVD_REFUSED 0x0040 /* the processor refuses WBINVD in ring 3 (measured at boot) */

/* klos_frame.request: what a ring-3 handler asks of the event core when it hands control back */
#define KLOS_REQUEST_FLUSH 0x01 /* load klos_frame.cr3, which flushes the TLB */
#define KLOS_REQUEST_IDLE  0x02 /* nothing to run: sti; hlt */
#define KLOS_REQUEST_HALT  0x04 /* stop for good (after a panic) */
#define KLOS_REQUEST_SYSENTER 0x08 /* load the SYSENTER registers, for the benchmark: CS from core_sysenter_cs */
#define KLOS_REQUEST_CACHES   0x10 /* write back and invalidate the caches, for the benchmark */

/* klos_frame.origin: where the event came from */
#define KLOS_ORIGIN_RING3 0 /* the usual case: an application or OS code in ring 3 */
#define KLOS_ORIGIN_IDLE  1 /* the event core's idle loop: eip and esp mean nothing */
#define KLOS_ORIGIN_GATE  2 /* the return gate, called when no event was being handled */

/* klos_event.flags */
#define KLOS_EVENT_FLUSHED  0x01
#define KLOS_EVENT_EOI      0x02 /* the event core sends an end of interrupt */
#define KLOS_EVENT_IDLE     0x04 /* the processor idles afterwards */
#define KLOS_EVENT_SWITCHED 0x08 /* another thread was resumed */
#define KLOS_EVENT_OS       0x10 /* the interrupted EIP was in OS code */

/* klos_site.kind */
#define KLOS_SITE_DESIGN_B   0 /* prologue of one service */
#define KLOS_SITE_DESIGN_A   1 /* the service trampoline */
#define KLOS_SITE_EVENT_CORE 2 /* a cell that the ring-0 stub loads DS, ES and SS from: no instruction, start == end == 0 */
#define KLOS_SITE_BARE       3 /* the paper's prologue, on the caller's stack: DSAPP, but during benchmark and attack */
#define KLOS_SITE_SYSENTER   4 /* the benchmark's SYSENTER and trap path */

/* klos_process.state and klos_thread.state */
#define KLOS_STATE_FREE    0
#define KLOS_STATE_READY   1
#define KLOS_STATE_RUNNING 2
#define KLOS_STATE_BLOCKED 3 /* threads only */
#define KLOS_STATE_ENDED   4 /* exit code still unread */

/* klos_thread.wait: why a thread is blocked */
#define KLOS_WAIT_NONE    0
#define KLOS_WAIT_SLEEP   1
#define KLOS_WAIT_RECEIVE 2 /* for a message */
#define KLOS_WAIT_SEND    3 /* for room in a queue */
#define KLOS_WAIT_PROCESS 4 /* for a process to end */
#define KLOS_WAIT_KEY     5
#define KLOS_WAIT_EVENT   6 /* the system process waiting for work */

/* klos_relocation.cause */
#define KLOS_CAUSE_BOOT    0
#define KLOS_CAUSE_NP      1 /* third #NP, or #SS with a selector */
#define KLOS_CAUSE_MAILBOX 2
#define KLOS_CAUSE_ATTACK  3 /* an application was caught with DSOS */

/* klos_report.result */
#define KLOS_RESULT_NONE         0
#define KLOS_RESULT_PASS         1
#define KLOS_RESULT_FAIL         2
#define KLOS_RESULT_NOT_ENFORCED 3 /* the processor at hand does not check what this row needs */

/* klos_mailbox.status */
#define KLOS_MAILBOX_EMPTY   0
#define KLOS_MAILBOX_REQUEST 1 /* written by the debugger, last */
#define KLOS_MAILBOX_RUNNING 2
#define KLOS_MAILBOX_DONE    3
#define KLOS_MAILBOX_ERROR   4

#ifndef __ASSEMBLER__

#include <stdint.h>

struct klos_array {
	uint32_t address;
	uint32_t count;
	uint32_t entry_size;
};
_Static_assert(sizeof(struct klos_array) == 12, "array layout");

/* What the event core saves on its stack, lowest address first. Thread contexts have the same layout. */
struct klos_frame {
	uint32_t request; /* KLOS_REQUEST_*, set by the handler */
	uint32_t origin;  /* KLOS_ORIGIN_* */
	uint32_t esp0;    /* TSS.ESP0 to restore: what it was when the event came */
	uint32_t cr3;     /* address space to resume in */
	uint32_t cr2;
	uint32_t dr6;
	uint32_t gs, fs, es, ds;
	uint32_t edi, esi, ebp, esp_pushed, ebx, edx, ecx, eax;
	uint32_t vector;
	uint32_t error_code; /* 0 where the processor pushes none */
	uint32_t eip, cs, eflags;
	uint32_t esp, ss;
};
_Static_assert(sizeof(struct klos_frame) == 100, "frame layout");

/* One place that holds the DSOS selector and is rewritten at each relocation. */
struct klos_site {
	uint32_t immediate; /* address of the value */
	uint32_t start;     /* the instruction that loads it into EAX */
	uint32_t loaded;    /* first instruction at which every segment register is loaded */
	uint32_t end;       /* end of the prologue and epilogue */
	uint16_t kind;      /* KLOS_SITE_* */
	uint16_t width;     /* bytes of the value: 2 or 4 */
	uint32_t service;   /* service number, or 0xFFFFFFFF */
	char name[24];
};
_Static_assert(sizeof(struct klos_site) == 48, "site layout");

struct klos_service {
	uint32_t number;
	uint32_t function; /* runs with DS = DSOS */
	uint32_t prologue; /* what an application calls (Design B) */
	uint32_t end;      /* end of its prologue and epilogue */
	char name[24];
};
_Static_assert(sizeof(struct klos_service) == 40, "service layout");

struct klos_process {
	uint32_t pid;
	uint32_t state;
	uint32_t parent;
	uint32_t cr3;
	uint32_t iomap_frames[2]; /* physical addresses of its I/O bitmap pages */
	uint32_t threads;         /* threads that have not ended */
	uint32_t frames;          /* page frames it owns, page tables included */
	uint32_t heap_start, heap_end;
	uint32_t exception_handler; /* head of the handler chain, 0: faults end the process */
	uint32_t faults;
	uint32_t exit_code;
	uint32_t end_vector; /* exception that ended it, or 0xFFFFFFFF */
	uint32_t messages;   /* waiting in its queue */
	uint32_t flags;      /* KLOS_PROCESS_* */
	char name[24];
	char arguments[40];
};
_Static_assert(sizeof(struct klos_process) == 128, "process layout");
#define KLOS_PROCESS_SYSTEM 0x01 /* runs OS code only */
#define KLOS_PROCESS_CAUGHT 0x02 /* was seen with DSOS in a segment register at an application's EIP */

/* Who had a pid, also after its entry in the process table is another's: slot pid % count. */
struct klos_name {
	uint32_t pid; /* 0 while the entry is being filled */
	char name[24];
};
_Static_assert(sizeof(struct klos_name) == 28, "name layout");

struct klos_thread {
	uint32_t tid;
	uint32_t pid;
	uint32_t state;
	uint32_t wait; /* KLOS_WAIT_* */
	uint32_t wait_object;
	uint32_t wake_tick;
	uint32_t priority;
	uint32_t entry;
	uint32_t stack_bottom, stack_top;       /* application stack */
	uint32_t os_stack_bottom, os_stack_top; /* services run here */
	uint32_t ticks;
	uint32_t preemptions;
	uint32_t switches;
	uint32_t context; /* address of its struct klos_frame; stale while the thread runs */
};
_Static_assert(sizeof(struct klos_thread) == 64, "thread layout");

struct klos_relocation {
	uint32_t seq; /* 1, 2, ...; written last */
	uint16_t old_selector, new_selector;
	uint16_t cause;     /* KLOS_CAUSE_* */
	uint16_t sites;     /* values rewritten */
	uint16_t rewound;   /* threads sent back to the start of a prologue */
	uint16_t corrected; /* saved selectors rewritten */
	uint32_t np_faults; /* counter at that time */
	uint32_t pid, tid;  /* who caused it */
	uint32_t eip;
	uint64_t time; /* TSC */
};
_Static_assert(sizeof(struct klos_relocation) == 40, "relocation layout");

/* One event from stub to resumption. seq is written last and is 0 while the entry is being filled. */
struct klos_event {
	uint32_t seq;
	uint8_t vector, depth, origin, flags; /* flags: KLOS_EVENT_* */
	uint32_t error_code;
	uint32_t eip, esp; /* interrupted */
	uint16_t cs, ss;
	uint32_t cr2;
	uint32_t handler;
	uint16_t pid, tid;
	uint32_t resumed_eip;
	uint16_t resumed_pid, resumed_tid;
	uint32_t handler_esp; /* what the outward far return loads, and SS with it */
	uint32_t esp0;        /* TSS.ESP0 while the handler runs */
	uint16_t handler_ss, reserved;
	uint64_t time_stub;         /* TSC in the ring-0 stub, at its first chance */
	uint64_t time_in, time_out; /* TSC at the start and the end of the ring-3 handler */
};
_Static_assert(sizeof(struct klos_event) == 80, "event layout");

struct klos_panic {
	uint32_t vector;
	uint32_t pid, tid;
	uint32_t depth;
	uint32_t cr0, cr2, cr3, cr4;
	char reason[64];
	struct klos_frame frame;
};
_Static_assert(sizeof(struct klos_panic) == 196, "panic layout");

/*
 * The outcome of a self-test or of an attack. PASS: what this processor and this system promise came about; for an attack
 * that the paper overlooks this means that it worked, and `held` is 0.
 */
struct klos_report {
	char name[28];
	uint32_t result; /* KLOS_RESULT_* */
	uint32_t held;   /* attacks: the system held */
	char claim[96];  /* what is tested; for an attack what the paper claims */
	char reason[124];
};
_Static_assert(sizeof(struct klos_report) == 256, "report layout");

/* One row of figure 4: ticks of the time stamp counter for one call of an empty service. */
struct klos_bench {
	char mechanism[12]; /* trap, sysenter, design_a, design_b */
	char situation[12]; /* best, average, worst */
	uint32_t runs;
	uint32_t minimum, median, mean, maximum;
	uint32_t overhead; /* of the measurement itself, already subtracted */
};
_Static_assert(sizeof(struct klos_bench) == 48, "bench layout");

/*
 * The debugger asks the running guest for something. Write command and argument, then status = REQUEST; wait for DONE or
 * ERROR; read result and text; write status = EMPTY. The guest looks at every timer tick. Commands:
 *   start NAME [ARGUMENTS]   start an application; result: its pid
 *   run NAME [ARGUMENTS]     start it and wait for its end; result: its exit code
 *   touch                    load `argument` absent selectors; result: relocations that followed
 *   relocate                 relocate DSOS `argument` times (0: once); result: the new selector
 *   selftest                 run every self-test and every attack; result: failures (klos_info.selftests, attacks)
 *   attacks [NAME]           run every attack, or one; result: failures (klos_info.attacks)
 *   bench                    run the benchmark; result: rows (klos_info.bench)
 *   soak                     the self-tests again and again for `argument` seconds; result: failures
 *   ping                     result: argument
 *   exit                     leave the emulator with `argument`
 */
struct klos_mailbox {
	uint32_t status; /* KLOS_MAILBOX_* */
	uint32_t argument;
	uint32_t result;
	uint32_t served; /* requests served so far */
	char command[64];
	char text[80]; /* answer or reason in words */
};
_Static_assert(sizeof(struct klos_mailbox) == 160, "mailbox layout");

struct klos_info {
	char magic[8]; /* "KLOSINFO" */
	uint32_t version;
	uint32_t size;
	uint32_t sequence; /* odd while descriptor tables and patch sites disagree */
	uint32_t flags;    /* KLOS_FLAG_* */
	char build_id[40]; /* hash of the sources */

	/* selectors, RPL included */
	uint16_t csos, dsapp, dsos;
	uint16_t core_code, core_data;
	uint16_t tss_selector, ldt_selector, gate_selector, fault_tss_selector;
	uint16_t commit_vector, trap_vector; /* IDT gates that ring 3 may use besides 3 and 4 */
	uint16_t irq_vector; /* of the first of 16 interrupt requests: the timer's */

	/* tables */
	uint32_t gdt, gdt_limit;
	uint32_t ldt, ldt_limit;
	uint32_t idt, idt_limit;
	uint32_t tss, tss_limit;
	uint32_t iomap, iomap_size; /* mapped per process; the terminator byte is not counted */

	/* address space */
	uint32_t app_base, app_top; /* DSAPP's last byte is app_top - 1 */
	uint32_t os_base;           /* physical memory is mapped from here */
	uint32_t physical_size;
	uint32_t window_base;     /* pages that differ between processes though they are the OS's: TSS and I/O bitmap */
	uint32_t os_page_directory; /* physical: the system process's */
	uint32_t os_text_start, os_text_end;     /* ring-3 OS code */
	uint32_t core_text_start, core_text_end; /* ring-0 event core */

	/* event core */
	uint32_t return_gate; /* where the call gate enters */
	uint32_t idle_site;   /* the instruction after hlt */
	uint32_t frame_size;  /* sizeof(struct klos_frame) */
	uint32_t core_stack_bottom, core_stack_top;
	uint32_t handler_stack_bottom, handler_stack_top;
	struct klos_array stubs;    /* uint32_t: address of each vector's ring-0 stub */
	struct klos_array handlers; /* uint32_t: registered ring-3 handlers */
	uint32_t event_depth;       /* 0: no event is being handled */

	/* who runs */
	uint32_t current_thread; /* address of its struct klos_thread, 0 when idle */
	uint32_t current_pid;
	uint32_t preempt_off; /* above 0: the timer must not switch */

	struct klos_array service_table; /* uint32_t: Design A's table */
	struct klos_array services;      /* struct klos_service */
	struct klos_array sites;         /* struct klos_site */
	struct klos_array processes;     /* struct klos_process */
	struct klos_array threads;       /* struct klos_thread */
	struct klos_array frames;        /* uint16_t: owner of each page frame, KLOS_FRAME_* or a pid */
	struct klos_array applications;  /* struct klos_application */
	struct klos_array relocation_log; /* struct klos_relocation: slot (seq - 1) % count */
	struct klos_array events;         /* struct klos_event: slot (seq - 1) % count */
	struct klos_array selftests;      /* struct klos_report */
	struct klos_array attacks;        /* struct klos_report */
	struct klos_array bench;          /* struct klos_bench */
	uint32_t mailbox;                 /* struct klos_mailbox */
	uint32_t panic;                   /* struct klos_panic */

	/* random source: xorshift64* */
	uint32_t seed;
	uint32_t random_draws;
	uint64_t random_state;

	/* counters */
	uint32_t event_count; /* also the seq of the newest event */
	uint32_t tick_count;
	uint32_t tick_rate; /* ticks a second */
	uint32_t switch_count;
	uint32_t np_faults;   /* absent selectors loaded by applications: #NP, and #SS with a selector */
	uint32_t np_retried;  /* #NP from a prologue that held a stale immediate: not counted above */
	uint32_t relocations;
	uint32_t gate_abuses; /* return gate called out of turn */
	uint32_t dsos_caught; /* applications seen with DSOS */
	uint32_t process_faults;
	uint32_t processes_started, processes_ended;
	uint32_t nmi_count;
	uint32_t spurious_irqs;
	uint32_t free_frames, total_frames;

	uint32_t events_on; /* 0: nothing is written to the event ring, but event_count goes on; a debugger may set it */
	struct klos_array names; /* struct klos_name */
};
_Static_assert(sizeof(struct klos_info) == 484, "info layout");

/* klos_info.frames: owners that are no pid */
#define KLOS_FRAME_FREE     0xFFFF
#define KLOS_FRAME_RESERVED 0xFFFE /* not RAM, or the BIOS's */
#define KLOS_FRAME_IMAGE    0xFFFD
#define KLOS_FRAME_OS       0xFFFC
#define KLOS_FRAME_SHARED   0xFFFB

struct klos_application {
	uint32_t entry;
	uint32_t kind; /* KLOS_APPLICATION_* */
	char name[24];
	char purpose[96];
};
_Static_assert(sizeof(struct klos_application) == 128, "application layout");
#define KLOS_APPLICATION_ORDINARY 0
#define KLOS_APPLICATION_SELFTEST 1
#define KLOS_APPLICATION_ATTACK   2

extern volatile struct klos_info klos_info;

#endif /* __ASSEMBLER__ */
#endif
