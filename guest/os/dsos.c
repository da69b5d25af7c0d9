/* The secret data selector: where its descriptor lies, who holds it, and how it moves (paper, 2.3.3). */
#include "os.h"

#define ABSENT_BEFORE_MOVE 3
#define NO_SERVICE 0xFFFFFFFF
#define LIMIT_4G 0xFFFFF

extern uint32_t core_dsos;
extern const struct klos_site site_table[], site_table_end[];
extern const struct klos_service service_list[], service_list_end[];

/* The cell that the ring-0 stubs load DS, ES and SS from. */
const struct klos_site core_site __attribute__((section(".sites"), used)) = {
	.immediate = (uint32_t)&core_dsos,
	.kind = KLOS_SITE_EVENT_CORE,
	.width = 4,
	.service = NO_SERVICE,
	.name = "event core",
};

static struct klos_relocation relocation_log[LOG_ENTRIES];
static int bare_open;    /* the paper's own prologue works */
static uint16_t previous; /* where DSOS was before it last moved */

static struct descriptor *slot_of(uint16_t selector)
{
	uint32_t table = selector & 4 ? klos_info.ldt : klos_info.gdt;

	return (struct descriptor *)table + (selector >> 3);
}

static uint16_t random_slot(void)
{
	for (;;) {
		uint32_t index = random_below(2 * TABLE_ENTRIES);
		uint16_t selector = (uint16_t)(index % TABLE_ENTRIES << 3 | (index < TABLE_ENTRIES ? 3 : 7));
		if (slot_of(selector)->access == ACCESS_FILLER && selector != klos_info.dsos)
			return selector;
	}
}

static uint16_t patch_sites(uint16_t selector)
{
	uint16_t count = 0;

	for (const struct klos_site *site = site_table; site < site_table_end; site++, count++)
		*(volatile uint32_t *)site->immediate = site->kind == KLOS_SITE_BARE && !bare_open ? DSAPP : selector;
	return count;
}

void dsos_place(void)
{
	uint16_t selector = random_slot();

	*slot_of(selector) = make_descriptor(0, LIMIT_4G, ACCESS_DATA3, FLAGS_32BIT_PAGES);
	klos_info.dsos = selector;
	patch_sites(selector);
	klos_info.sites.address = (uint32_t)site_table;
	klos_info.sites.count = (uint32_t)(site_table_end - site_table);
	klos_info.sites.entry_size = sizeof(site_table[0]);
	klos_info.services.address = (uint32_t)service_list;
	klos_info.services.count = (uint32_t)(service_list_end - service_list);
	klos_info.services.entry_size = sizeof(service_list[0]);
	klos_info.relocation_log.address = (uint32_t)relocation_log;
	klos_info.relocation_log.count = LOG_ENTRIES;
	klos_info.relocation_log.entry_size = sizeof(relocation_log[0]);
}

/* The site whose prologue holds a selector in EAX at this address: behind the load, before the last use. */
const struct klos_site *site_at(uint32_t eip)
{
	for (const struct klos_site *site = site_table; site < site_table_end; site++)
		if (eip > site->start && eip < site->loaded)
			return site;
	return 0;
}

int dsos_is_previous(uint32_t error_code)
{
	return previous && error_code >> 2 == (uint32_t)previous >> 2;
}

/* Saved contexts hold selectors, never hidden parts. */
static void correct(struct klos_frame *frame, uint16_t old, struct klos_relocation *entry)
{
	uint32_t *selectors[] = { &frame->ds, &frame->es, &frame->fs, &frame->gs, &frame->ss };
	const struct klos_site *site = site_at(frame->eip);

	for (int i = 0; i < 5; i++)
		if ((*selectors[i] | 3) == old) {
			*selectors[i] = klos_info.dsos;
			entry->corrected++;
		}
	if (site) {
		frame->eip = site->start;
		entry->rewound++;
	}
}

static void correct_all(struct klos_frame *frame, uint16_t old, struct klos_relocation *entry)
{
	for (uint32_t i = 0; i < MAX_THREADS; i++)
		if (threads[i].public.state != KLOS_STATE_FREE && &threads[i] != current_thread())
			correct(&threads[i].frame, old, entry);
	for (uint32_t depth = klos_info.event_depth; depth; depth--) {
		if (frame->origin != KLOS_ORIGIN_IDLE)
			correct(frame, old, entry);
		frame = (struct klos_frame *)frame->esp0;
	}
}

static void record(const struct klos_frame *frame, uint16_t old, uint16_t cause, struct klos_relocation *entry)
{
	const struct thread *thread = current_thread();

	entry->old_selector = old;
	entry->new_selector = klos_info.dsos;
	entry->cause = cause;
	entry->np_faults = klos_info.np_faults;
	entry->pid = thread ? thread->public.pid : 0;
	entry->tid = thread ? thread->public.tid : 0;
	entry->eip = frame->eip;
	entry->time = read_tsc();
	entry->seq = ++klos_info.relocations;
}

/*
 * Move DSOS. Only event handlers call this: with interrupts off nothing sees the tables while they disagree, and the
 * handler's own selectors are loaded anew before the old slot is vacated.
 */
void dsos_relocate(struct klos_frame *frame, uint16_t cause)
{
	uint16_t old = klos_info.dsos;
	uint32_t eip = frame->eip;
	struct klos_relocation *entry = &relocation_log[klos_info.relocations % LOG_ENTRIES];

	PANIC_IF(!klos_info.event_depth);
	klos_info.sequence++;
	memset(entry, 0, sizeof(*entry));
	klos_info.dsos = random_slot();
	*slot_of(klos_info.dsos) = *slot_of(old);
	entry->sites = patch_sites(klos_info.dsos);
	correct_all(frame, old, entry);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss" : : "r"((uint32_t)klos_info.dsos) : "memory");
	slot_of(old)->access = ACCESS_FILLER;
	previous = old;
	record(frame, old, cause, entry);
	entry->eip = eip;
	klos_info.sequence++;
}

/* Let the paper's own prologue load DSOS, or not. In a critical section. */
void dsos_open_bare(int open)
{
	bare_open = open;
	patch_sites(klos_info.dsos);
}

/* Count a load of an absent selector. */
void dsos_absent(struct klos_frame *frame)
{
	klos_info.np_faults++;
	if (klos_info.np_faults % ABSENT_BEFORE_MOVE == 0)
		dsos_relocate(frame, KLOS_CAUSE_NP);
}
