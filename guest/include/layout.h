/* Where things lie in the address space and in the GDT. Assembly and C share these. README.md draws the picture. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define PAGE_SIZE 0x1000

/* Applications: below DSAPP's limit. */
#define APP_BASE        0x00400000
#define APP_HEAP_BASE   0x10000000
#define APP_HEAP_TOP    0x50000000
#define APP_SHARED_BASE 0x60000000
#define APP_STACK_BASE  0xA0000000
#define APP_TOP         0xC0000000

/* The OS: above it. Physical memory from 0 up is mapped at OS_BASE, the image among it. */
#define OS_BASE      0xC0000000
#define OS_MAP_SIZE  0x10000000
#define STACKS_BASE  0xF0000000
#define WINDOW_BASE  0xFF800000

/* The TSS ends where its I/O bitmap begins: on a page boundary, so that a process can have bitmap pages of its own. */
#define TSS_SIZE     0x68
#define TSS_ADDRESS  (WINDOW_BASE + PAGE_SIZE - TSS_SIZE)
#define TSS_ESP0     (TSS_ADDRESS + 4)
#define IOMAP        (WINDOW_BASE + PAGE_SIZE)
#define IOMAP_SIZE   0x2000
#define TSS_LIMIT    (TSS_SIZE + IOMAP_SIZE)

#define TABLE_ENTRIES 8192

/* GDT. SYSENTER and SYSEXIT dictate the order of the first four. */
#define CORE_CODE  0x08
#define CORE_DATA  0x10
#define CSOS       0x1B
#define DSAPP      0x23
#define TSS_SELECTOR       0x28
#define LDT_SELECTOR       0x30
#define GATE_SELECTOR      0x3B
#define FAULT_TSS_SELECTOR 0x40
#define GDT_FIRST_FREE 9

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
#define VECTOR_IRQ 32
#define VECTOR_COMMIT 48
#define VECTOR_TRAP 49
#define VECTOR_COMPARISON 50 /* closed but for the benchmark */
#define COMPARISON_SERVICES 50

/* Offsets that assembly needs; os/info.c checks them against the structures. */
#define FRAME_REQUEST 0
#define FRAME_ORIGIN  4
#define FRAME_ESP0    8
#define FRAME_CR3     12
#define FRAME_VECTOR  72
#define FRAME_ESP     92
#define FRAME_SIZE    100
#define INFO_EVENT_DEPTH 220

#define MAX_PROCESSES 32
#define MAX_THREADS   64

#endif
