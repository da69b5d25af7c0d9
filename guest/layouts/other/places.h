/* Another layout, so that nothing takes the first for granted: no address, selector, vector or size is the same. */
#ifndef PLACES_H
#define PLACES_H

#define INFO_MAGIC "NAMELESS"

/* Applications: below DSAPP's limit. */
#define APP_BASE        0x08000000
#define APP_HEAP_BASE   0x18000000
#define APP_HEAP_TOP    0x40000000
#define APP_SHARED_BASE 0x50000000
#define APP_STACK_BASE  0x70000000
#define APP_TOP         0x80000000

/* The OS: above it, with a gap. */
#define OS_BASE      0x90000000
#define OS_MAP_SIZE  0x08000000
#define STACKS_BASE  0xB0000000
#define WINDOW_BASE  0xA8400000

#define TABLE_ENTRIES 2048

/* GDT. SYSENTER and SYSEXIT dictate the order of the last four. */
#define TSS_SELECTOR       0x08
#define LDT_SELECTOR       0x10
#define GATE_SELECTOR      0x1B
#define FAULT_TSS_SELECTOR 0x20
#define CORE_CODE  0x28
#define CORE_DATA  0x30
#define CSOS       0x3B
#define DSAPP      0x43
#define GDT_FIRST_FREE 9

#define VECTOR_IRQ 96

#define MAX_PROCESSES 20
#define MAX_THREADS   40
#define LOG_ENTRIES   300
#define COMPARISON_SERVICES 7

#endif
