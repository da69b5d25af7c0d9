/* How a row's code says that nothing stopped it, for C and for the assembler. */
#ifndef ROW_END_H
#define ROW_END_H

#ifdef HOSTPROBE
/* The signal handler recognises this wherever the row has taken CS, SS and DS. */
#define ROW_END_CODE ud2; .ascii "END."
#else
#define ROW_END_CODE int $0x80
#endif

#define FETCH_TARGET 0x2000

#endif
