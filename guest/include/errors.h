/* Errors of services: negative results. */
#ifndef ERRORS_H
#define ERRORS_H

#define ERROR_ARGUMENT  (-1)
#define ERROR_POINTER   (-2)
#define ERROR_MEMORY    (-3)
#define ERROR_FULL      (-4)
#define ERROR_NOT_FOUND (-5)
#define ERROR_EMPTY     (-6)
#define ERROR_SERVICE   (-7)

#endif
