/*
 * Where things lie in the address space and in the GDT (paper, 2.2), and the I/O bitmap on a page boundary (paper, 2.3.2).
 * Assembly and C share these. README.md draws the picture. What may differ between images is in places.h, which
 * make LAYOUT=NAME takes from layouts/NAME.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#define PAGE_SIZE 0x1000

#include "places.h"

#define SELECTOR_MASK (8 * TABLE_ENTRIES - 4) /* any slot of the GDT or the LDT */

/* The TSS ends where its I/O bitmap begins: on a page boundary, so that a process can have bitmap pages of its own. */
#define TSS_SIZE     0x68
#define TSS_ADDRESS  (WINDOW_BASE + PAGE_SIZE - TSS_SIZE)
#define TSS_ESP0     (TSS_ADDRESS + 4)
#define IOMAP        (WINDOW_BASE + PAGE_SIZE)
#define IOMAP_SIZE   0x2000
#define TSS_LIMIT    (TSS_SIZE + IOMAP_SIZE)

/* Interrupt vectors. */
#define VECTOR_DB 1
#define VECTOR_NMI 2
#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_DF 8
#define VECTOR_NP 11
#define VECTOR_SS 12
#define VECTOR_GP 13
#define VECTOR_PF 14
#define VECTOR_COMMIT (VECTOR_IRQ + 16)
#define VECTOR_TRAP (VECTOR_IRQ + 17)
#define VECTOR_COMPARISON (VECTOR_IRQ + 18) /* closed but for the benchmark */

/* Offsets that assembly needs; os/info.c checks them against the structures. */
#define FRAME_REQUEST 0
#define FRAME_ORIGIN  4
#define FRAME_ESP0    8
#define FRAME_CR3     12
#define FRAME_VECTOR  72
#define FRAME_ESP     92
#define FRAME_SIZE    100
#define INFO_EVENT_DEPTH 220

#endif
