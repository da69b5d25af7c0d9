/*
 * What the parts of the OS offer each other (paper, 2). Everything here runs in ring 3 on DSOS, once ring 3 stands. Before that
 * boot/ calls some of it, in ring 0 on data segments as flat as DSOS, to make what the first thread needs.
 */
#ifndef OS_H
#define OS_H

#include <stddef.h>
#include <stdint.h>
#include "errors.h"
#include "klos_abi.h"
#include "layout.h"
#include "string.h"
#include "x86.h"

#define PANIC_IF(condition) \
	do { \
		if (condition) \
			panic(#condition); \
	} while (0)

#define QUEUE_MESSAGES 8
#define MESSAGE_SIZE   64
#define MAX_SHARED     16
#define NO_VECTOR      0xFFFFFFFF

struct message {
	uint32_t sender;
	uint32_t length;
	uint8_t text[MESSAGE_SIZE];
};

struct process {
	struct klos_process public;
	uint32_t *directory;
	struct message queue[QUEUE_MESSAGES];
	uint32_t queue_first;
	uint32_t shared; /* bit n: shared region n is mapped */
};

struct thread {
	struct klos_thread public;
	struct klos_frame frame;
	struct process *process;
	uint32_t slice;    /* ticks left */
	uint32_t sections; /* critical sections it is in, while another thread runs */
	uint32_t resume;   /* context that exception_resume asked for, in this thread's OS memory */
	struct klos_frame resume_frame;
};

/* panic.c */
void panic(const char *reason) __attribute__((noreturn));

/* random.c */
void random_seed(uint32_t seed);
uint32_t random_below(uint32_t bound);
uint32_t random_public(void);

/* memory.c */
void memory_start(uint32_t physical_size, uint32_t image_end_physical);
uint32_t frame_allocate(uint16_t owner);
void frame_free(uint32_t physical);
static inline void *physical_to_os(uint32_t physical)
{
	return (void *)(OS_BASE + physical);
}

/* paging.c */
void paging_start(uint32_t physical_size);
int directory_create(struct process *process);
void directory_destroy(struct process *process);
int page_map(struct process *process, uint32_t linear, uint32_t physical, uint32_t flags);
uint32_t page_unmap(struct process *process, uint32_t linear);
uint32_t *page_entry(uint32_t *directory, uint32_t linear);
int pages_allocate(struct process *process, uint32_t linear, uint32_t count);
void pages_free(struct process *process, uint32_t linear, uint32_t count);
int os_stack_allocate(uint32_t slot, uint32_t *bottom, uint32_t *top);
int user_readable(const void *address, uint32_t size);
int user_writable(void *address, uint32_t size);
int user_string(const char *text, char *to, size_t size);

/* io.c: a port is open from io_open to io_close; what io_open returns goes to io_close */
uint32_t io_open(uint16_t port, uint32_t count);
void io_close(uint16_t port, uint32_t count, uint32_t before);

/* console.c, serial.c, keyboard.c, screen.c, timer.c */
void print(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
void console_write(const char *text, uint32_t length);
void debug_write(const char *text, uint32_t length);
void serial_start(void);
void serial_write(const char *text, uint32_t length);
int serial_read(void);
void event_serial(struct klos_frame *frame);
int key_take(void);
void event_keyboard(struct klos_frame *frame);
void screen_clear(void);
void screen_write(const char *text, uint32_t length);
void screen_write_at(uint32_t row, uint32_t column, const char *text, uint32_t length);
void timer_start(uint32_t rate);
void event_timer(struct klos_frame *frame);
uint32_t clock_read(void);

/* event.c */
extern uint32_t handler_table[256];
typedef void handler(struct klos_frame *frame);
void event_register(uint32_t vector, handler *function);
void events_start(void);
void event_run(struct klos_frame *frame, handler *body);
int in_os_code(const struct klos_frame *frame);
/* Define a ring-3 event handler: registered as EventN handler, its body between the common first and last steps. */
#define EVENT_HANDLER(name) \
	static void name##_body(struct klos_frame *frame); \
	void name(struct klos_frame *frame); \
	void name(struct klos_frame *frame) \
	{ \
		event_run(frame, name##_body); \
	} \
	static void name##_body(struct klos_frame *frame)

/* faults.c, exception.c */
void faults_start(void);
int exception_deliver(struct klos_frame *frame);
void exception_commit(struct klos_frame *frame);
struct exception;
int exception_resume(uint32_t disposition, struct exception *record);

/* scheduler.c */
extern struct thread threads[MAX_THREADS];
extern uint32_t current_os_stack;
static inline struct thread *current_thread(void)
{
	return (struct thread *)klos_info.current_thread;
}
struct thread *thread_create(struct process *process, uint32_t entry, uint32_t argument);
struct thread *thread_find(uint32_t tid);
void thread_end(struct thread *thread);
void thread_wake(struct thread *thread);
void threads_wake(uint32_t wait, uint32_t object);
void thread_prepare(uint32_t wait, uint32_t object);
void thread_sleep(void);
void thread_sleep_ticks(uint32_t ticks);
/* In a critical section: sleep until something is so. Whatever makes it so wakes `wait`, `object`. */
#define WAIT_UNTIL(condition, wait, object) \
	do { \
		thread_prepare(wait, object); \
		while (!(condition)) { \
			thread_sleep(); \
			thread_prepare(wait, object); \
		} \
		thread_prepare(KLOS_WAIT_NONE, 0); \
	} while (0)
void schedule_soon(void);
void context_copy(struct klos_frame *to, const struct klos_frame *from);
void schedule(struct klos_frame *frame);
void commit(uint32_t request);
void scheduler_tick(void);
void critical_enter(void);
void critical_leave(void);

/* process.c */
extern struct process processes[MAX_PROCESSES];
struct process *process_create(const char *name, const char *arguments, uint32_t parent, int *error);
struct process *process_system(const char *name);
struct process *process_find(uint32_t pid);
void process_end(struct process *process, uint32_t code, uint32_t vector);
uint32_t processes_collect(void);
const struct klos_application *application_find(const char *name);
int process_wait(uint32_t pid, uint32_t *code);

/* ipc.c, shared.c */
int message_send(uint32_t pid, const void *text, uint32_t length);
int message_receive(void *text, uint32_t size, uint32_t *sender);
int shared_create(uint32_t key, uint32_t pages);
int shared_map(uint32_t key);
int shared_unmap(uint32_t key);
int shared_size(uint32_t key);
void shared_release(struct process *process);

/* dsos.c */
void dsos_place(void);
void dsos_relocate(struct klos_frame *frame, uint16_t cause);
void dsos_absent(struct klos_frame *frame);
void dsos_open_bare(int open);
const struct klos_site *site_at(uint32_t eip);
int dsos_is_previous(uint32_t error_code);

/* mailbox.c, report.c, bench.c, system.c */
void mailbox_start(void);
void mailbox_poll(struct klos_frame *frame);
int mailbox_serve(void);
void mailbox_order(const char *commands);
void reports_start(void);
void comparison_open(int open);
uint32_t run_bench(void);
uint32_t run_selftests(void);
uint32_t run_attacks(const char *name);
uint32_t run_soak(uint32_t seconds);
extern char run_option[64];
void klos_ready(void);
void orders_done(void);
void system_main(void);

#endif
