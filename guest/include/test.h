/* For self-tests and attacks. */
#ifndef TEST_H
#define TEST_H

#include "app.h"
#include "layout.h"

/* Catches what faults in a call; start.S knows the first four words. */
struct guard {
	struct exception_registration registration;
	uint32_t esp, ebp;
	struct exception seen;
};
int guarded(struct guard *guard, void (*function)(void *), void *argument);
void guard_enter(struct guard *guard);
void guard_leave(struct guard *guard);

/* A macro's value as text, for assembly in C. */
#define WORDS(value) #value
#define TEXT(macro) WORDS(macro)

#define NO_FAULT (-1)

/* Call a function under a guard and tell the vector, or NO_FAULT. */
int fault_of(void (*function)(void *), void *argument);

/* Verdicts: report and return an exit code. Reasons are formatted. */
int pass(const char *reason, ...) __attribute__((format(printf, 1, 2)));
int fail(const char *reason, ...) __attribute__((format(printf, 1, 2)));
int not_enforced(const char *reason, ...) __attribute__((format(printf, 1, 2)));
/* For attacks that the paper overlooks: the demonstration worked, the system did not hold. */
int broke(const char *reason, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			return fail("%s", #condition); \
	} while (0)

/* Start this application again with arguments, as a child that may be ended. */
int start_self(const char *arguments);
/* Nonzero in such a child. */
int has_argument(const char *wanted);
/* Run such a child to its end: the vector that ended it, or 0; *code is its exit code. */
int run_self(const char *arguments, uint32_t *code);

#define SELFTEST(identifier, name, purpose) APPLICATION(identifier, SELFTEST, name, purpose)
#define ATTACK(identifier, name, claim) APPLICATION(identifier, ATTACK, name, claim)

#endif
