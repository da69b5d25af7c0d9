/* What an application may use: services (paper, 2.4), each a near call, and a small library. */
#ifndef APP_H
#define APP_H

#include "errors.h"
#include "exception.h"
#include "klos_abi.h"
#include "string.h"

/* services.S defines these; what they do: os/services_*.c. Negative results are errors (errors.h). */
int service_null(void);
int service_print(const char *text, uint32_t length);
int service_process_id(void);
int service_thread_id(void);
int service_parent_id(void);
int service_yield(void);
int service_sleep(uint32_t ticks);
int service_exit(uint32_t code) __attribute__((noreturn));
int service_ticks(void);
int service_tick_rate(void);
int service_process_create(const char *name, const char *arguments);
int service_process_wait(uint32_t pid, uint32_t *code);
int service_process_kill(uint32_t pid);
int service_process_count(void);
int service_process_name(char *to, uint32_t size);
int service_process_arguments(char *to, uint32_t size);
int service_process_state(uint32_t pid);
int service_process_threads(void);
int service_process_frames(void);
int service_thread_create(int (*entry)(void *), void *argument);
int service_thread_exit(uint32_t code) __attribute__((noreturn));
int service_thread_priority(uint32_t priority);
int service_thread_count(void);
int service_thread_alive(uint32_t tid);
int service_heap_start(void);
int service_heap_end(void);
int service_heap_grow(uint32_t pages);
int service_heap_shrink(uint32_t pages);
int service_page_present(const void *address);
int service_frames_free(void);
int service_frames_total(void);
int service_shared_create(uint32_t key, uint32_t pages);
int service_shared_map(uint32_t key);
int service_shared_unmap(uint32_t key);
int service_shared_size(uint32_t key);
int service_message_send(uint32_t pid, const void *text, uint32_t length);
int service_message_try_send(uint32_t pid, const void *text, uint32_t length);
int service_message_receive(void *text, uint32_t size, uint32_t *sender);
int service_message_try_receive(void *text, uint32_t size, uint32_t *sender);
int service_message_count(void);
int service_message_size(void);
int service_exception_set(struct exception_registration *head);
struct exception_registration *service_exception_get(void);
int service_exception_resume(uint32_t disposition, struct exception *record);
int service_key_wait(void);
int service_key_read(void);
int service_serial_write(const char *text, uint32_t length);
int service_serial_read(void);
int service_debug_write(const char *text, uint32_t length);
int service_screen_write(uint32_t row, uint32_t column, const char *text, uint32_t length);
int service_screen_clear(void);
int service_clock(void);
int service_random(void);
int service_faults(void);
int service_relocations(void);
int service_absent_loads(void);
int service_version(void);
int service_report(uint32_t result, uint32_t held, const char *reason);
int service_fill(void *to, uint32_t value, uint32_t size);
int service_copy(void *to, const void *from, uint32_t size);
int service_checksum(const void *bytes, uint32_t size);
int service_enforced(uint32_t flag);
int service_bench_row(const struct klos_bench *row);
int service_flush_caches(void);

/* Design A: the same by number (include/services.def). */
int service_trampoline(uint32_t number, ...);

/* apps/library.c */
void say(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

/* An application: its function runs as the first thread of a new process; what it returns is the exit code. */
#define APPLICATION(identifier, kind, name, purpose) \
	int app_##identifier(void); \
	static const struct klos_application description_##identifier \
		__attribute__((section(".applications"), used)) = { \
		(uint32_t)app_##identifier, KLOS_APPLICATION_##kind, name, purpose \
	}; \
	int app_##identifier(void)

#endif
