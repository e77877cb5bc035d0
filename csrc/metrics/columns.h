/* The one place that sorts: each label's column of a score matrix, descending. Curves, weighted
 * measures and what Python searches along are visitors of the same sorted columns; what needs a
 * ranking's positives only takes steps.h.
 *
 * An item is (rank << 32 | row << 1 | target); base/rank.h has ranks. Equal ranks are neighbours,
 * in the order of their rows. */
#ifndef MLC_COLUMNS_H
#define MLC_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/rank.h"
#include "../base/status.h"

/* What to do with the sorted column of one label: called once for each label, on whichever thread
 * sorted it, in any order. The items are its own to change, and lost when it returns. */
typedef void mlc_column_visit(void *context, size_t label, uint64_t *items, size_t rows);

/* Sort every column of (rows, labels) matrices and visit it; a target is whether it is not 0.
 * MLC_VALUE on a NaN score (some columns may have been visited) and on 2^31 rows or more,
 * MLC_MEMORY. `function` is who the message names. */
mlc_status mlc_columns_visit(const char *function, const float *scores, const uint8_t *targets,
                             size_t rows, size_t labels, mlc_column_visit *visit, void *context,
                             mlc_error *error);

static inline uint32_t mlc_item_rank(uint64_t item) { return (uint32_t)(item >> 32); }
static inline size_t mlc_item_row(uint64_t item) { return (uint32_t)item >> 1; }
static inline int mlc_item_target(uint64_t item) { return (int)(item & 1); }

/* The end of the run of equal scores that begins at `first`. */
static inline size_t mlc_run_end(const uint64_t *items, size_t first, size_t rows)
{
    size_t i = first + 1;
    while (i < rows && mlc_item_rank(items[i]) == mlc_item_rank(items[first])) i++;
    return i;
}

#endif
