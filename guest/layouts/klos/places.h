/* The layout of KLOS itself. */
#ifndef PLACES_H
#define PLACES_H

#define INFO_MAGIC "KLOSINFO"

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

#define VECTOR_IRQ 32

#define MAX_PROCESSES 32
#define MAX_THREADS   64
#define LOG_ENTRIES   1024
#define COMPARISON_SERVICES 50

#endif
