/* The self-description, and what assembly assumes about structures. */
#include "os.h"

#define AT(structure, field, offset) _Static_assert(offsetof(struct structure, field) == (offset), #field)

AT(klos_frame, request, FRAME_REQUEST);
AT(klos_frame, origin, FRAME_ORIGIN);
AT(klos_frame, esp0, FRAME_ESP0);
AT(klos_frame, cr3, FRAME_CR3);
AT(klos_frame, vector, FRAME_VECTOR);
AT(klos_frame, esp, FRAME_ESP);
AT(klos_info, event_depth, INFO_EVENT_DEPTH);
AT(tss, esp0, TSS_ESP0 - TSS_ADDRESS);
_Static_assert(sizeof(struct klos_frame) == FRAME_SIZE, "frame size");
_Static_assert(sizeof(struct tss) == TSS_SIZE, "tss size");
_Static_assert(TSS_ADDRESS + TSS_SIZE == IOMAP, "the I/O bitmap follows the TSS");
_Static_assert(IOMAP % PAGE_SIZE == 0, "the I/O bitmap starts a page");
_Static_assert((CSOS & 3) == 3 && (DSAPP & 3) == 3, "requested privilege level 3");
_Static_assert(DSAPP == CSOS + 8 && CORE_DATA == CORE_CODE + 8 && CSOS - 3 == CORE_CODE + 16, "order for SYSENTER");

/* Where attacks on OS memory aim. */
extern uint32_t attack_scratch;
uint32_t attack_scratch;

volatile struct klos_info klos_info __attribute__((section(".info"), aligned(PAGE_SIZE))) = {
	.magic = INFO_MAGIC,
	.version = KLOS_ABI_VERSION,
	.size = sizeof(struct klos_info),
	.build_id = BUILD_ID,
};
