/* What sorting columns (columns.c) and counting between positives (steps.c) share: labels go to
 * threads in blocks, of which a row's scores are one cache line, and refuse the same input. */
#ifndef MLC_LABEL_BLOCKS_H
#define MLC_LABEL_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/status.h"

enum { MLC_LABEL_BLOCK = 16 };

/* Labels of a block, of which a thread holds rows of `item` bytes: narrow where there are more
 * threads than labels for them, or rows for the memory. */
static inline size_t mlc_label_block(size_t rows, size_t labels, size_t item, size_t workers)
{
    enum { LARGE = 64 << 20 }; /* bytes of a thread */
    size_t block = MLC_LABEL_BLOCK;
    while (block > 1 &&
           (block * rows > LARGE / item || (workers > 1 && block * workers * 4 > labels)))
        block /= 2;
    return block;
}

/* Room for n items, `line` in a cache line: whole lines, and an odd number of them, so that columns
 * do not compete for the same sets of a cache. */
static inline size_t mlc_apart(size_t n, size_t line) { return ((n + line - 1) / line | 1) * line; }

static inline mlc_status mlc_check_rows(const char *function, size_t rows, mlc_error *error)
{
    if (!(rows >> 31)) return MLC_OK;
    return mlc_fail(error, MLC_VALUE, "%s: `scores` must have fewer than 2^31 rows, got %zu",
                    function, rows);
}

/* Whether a block of labels held a NaN. */
static inline mlc_status mlc_check_nan(const char *function, const bool *nan, size_t blocks,
                                       mlc_error *error)
{
    for (size_t b = 0; b < blocks; b++)
        if (nan[b])
            return mlc_fail(error, MLC_VALUE, "%s: `scores` must not hold NaN, got NaN", function);
    return MLC_OK;
}

#endif
