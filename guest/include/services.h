/* The functions behind the services (paper, 2.4); services.S calls them with the caller's first four arguments. */
#ifndef SERVICES_H
#define SERVICES_H

#include <stdint.h>

struct exception;
struct klos_bench;

int do_null(void);
int do_bad_service(void);
void do_bad_stack(void);
int do_print(const char *text, uint32_t length);
int do_process_id(void);
int do_thread_id(void);
int do_parent_id(void);
int do_yield(void);
int do_sleep(uint32_t ticks);
int do_exit(uint32_t code);
int do_ticks(void);
int do_tick_rate(void);
int do_process_create(const char *name, const char *arguments);
int do_process_wait(uint32_t pid, uint32_t *code);
int do_process_kill(uint32_t pid);
int do_process_count(void);
int do_process_name(char *to, uint32_t size);
int do_process_arguments(char *to, uint32_t size);
int do_process_state(uint32_t pid);
int do_process_threads(void);
int do_process_frames(void);
int do_thread_create(uint32_t entry, uint32_t argument);
int do_thread_exit(uint32_t code);
int do_thread_priority(uint32_t priority);
int do_thread_count(void);
int do_thread_alive(uint32_t tid);
int do_heap_start(void);
int do_heap_end(void);
int do_heap_grow(uint32_t pages);
int do_heap_shrink(uint32_t pages);
int do_page_present(const void *address);
int do_frames_free(void);
int do_frames_total(void);
int do_shared_create(uint32_t key, uint32_t pages);
int do_shared_map(uint32_t key);
int do_shared_unmap(uint32_t key);
int do_shared_size(uint32_t key);
int do_message_send(uint32_t pid, const void *text, uint32_t length);
int do_message_try_send(uint32_t pid, const void *text, uint32_t length);
int do_message_receive(void *text, uint32_t size, uint32_t *sender);
int do_message_try_receive(void *text, uint32_t size, uint32_t *sender);
int do_message_count(void);
int do_message_size(void);
int do_exception_set(uint32_t head);
int do_exception_get(void);
int do_exception_resume(uint32_t disposition, struct exception *record);
int do_key_wait(void);
int do_key_read(void);
int do_serial_write(const char *text, uint32_t length);
int do_serial_read(void);
int do_debug_write(const char *text, uint32_t length);
int do_screen_write(uint32_t row, uint32_t column, const char *text, uint32_t length);
int do_screen_clear(void);
int do_clock(void);
int do_random(void);
int do_faults(void);
int do_relocations(void);
int do_absent_loads(void);
int do_version(void);
int do_report(uint32_t result, uint32_t held, const char *reason);
int do_fill(void *to, uint32_t value, uint32_t size);
int do_copy(void *to, const void *from, uint32_t size);
int do_checksum(const uint8_t *bytes, uint32_t size);
int do_enforced(uint32_t flag);
int do_bench_row(const struct klos_bench *row);
int do_flush_caches(void);

#endif
