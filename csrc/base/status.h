/* How C reports what went wrong: a status upward, a sentence in the caller's mlc_error. Only
 * csrc/python turns one into an exception. */
#ifndef MLC_STATUS_H
#define MLC_STATUS_H

typedef enum {
    MLC_OK = 0,
    MLC_VALUE,     /* ValueError: an argument breaks a rule */
    MLC_KEY,       /* KeyError: a name that does not exist */
    MLC_MEMORY,    /* MemoryError */
    MLC_STATE,     /* RuntimeError: right call, wrong moment */
    MLC_CANCELLED, /* the poll function asked to stop; the sentence is its own */
} mlc_status;

typedef struct {
    char text[320];
} mlc_error;

#if defined(__GNUC__)
#define MLC_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define MLC_PRINTF(text, first)
#endif

/* Write the sentence, cut to fit. */
void mlc_error_write(mlc_error *error, const char *format, ...) MLC_PRINTF(2, 3);

/* The same, and `status` as its value: callers say `return mlc_fail(...)`. A macro, so that who
 * looks at one file alone sees that what fails is not MLC_OK. */
#define mlc_fail(error, status, ...) (mlc_error_write(error, __VA_ARGS__), (status))

#endif
