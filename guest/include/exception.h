/* Exceptions as applications see them (paper, 2.3.3). */
#ifndef EXCEPTION_H
#define EXCEPTION_H

#include <stdint.h>

#define EXCEPTION_CONTINUE 0
#define EXCEPTION_SEARCH   1

/* What process_wait tells of a process that an exception ended. */
#define ENDED_BY(vector) (0x100 | (vector))

struct exception_context {
	uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax, eip, eflags;
};

struct exception;
typedef int exception_handler(struct exception *exception);

struct exception_registration {
	struct exception_registration *next;
	exception_handler *handler;
};

struct exception {
	uint32_t vector;
	uint32_t error_code;
	uint32_t address; /* of a page fault */
	struct exception_registration *registration;
	struct exception_context context;
};

#endif
