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

/* Write the sentence (cut to fit) and return `status`: callers say `return mlc_fail(...)`. */
mlc_status mlc_fail(mlc_error *error, mlc_status status, const char *format, ...) MLC_PRINTF(3, 4);

#endif
