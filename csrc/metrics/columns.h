/* The one place that sorts: each label's column of a score matrix, descending. Average precision,
 * ROC AUC, curves and the search for thresholds are visitors of the same sorted columns.
 *
 * An item is (rank << 32 | row << 1 | target); base/rank.h has ranks. Equal ranks are neighbours,
 * in the order of their rows. In a coarse order that holds for groups: items whose ranks differ in
 * their lowest bits only. Who looks at runs with a positive and counts the rest needs no more:
 * mlc_next_positive sorts the groups that it stops in. */
#ifndef MLC_COLUMNS_H
#define MLC_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/rank.h"
#include "../base/status.h"

typedef enum { MLC_SORTED, MLC_COARSE } mlc_order;

typedef struct {
    uint64_t *items, *spare; /* `rows` of each */
    size_t rows;
    size_t settled; /* of a coarse order: so many items from the first on are sorted wholly */
} mlc_column;

/* What to do with the column of one label: called once for each label, on whichever thread sorted
 * it, in any order. The items are its own to change, and lost when it returns. */
typedef void mlc_column_visit(void *context, size_t label, mlc_column *column);

/* Sort every column of (rows, labels) matrices and visit it; a target is whether it is not 0.
 * MLC_VALUE on a NaN score (some columns may have been visited) and on 2^31 rows or more,
 * MLC_MEMORY. `function` is who the message names. */
mlc_status mlc_columns_visit(const char *function, const float *scores, const uint8_t *targets,
                             size_t rows, size_t labels, mlc_order order, mlc_column_visit *visit,
                             void *context, mlc_error *error);

/* The first item from `i` on whose target is 1, or `rows`; its group is sorted wholly then. `i` is
 * 0 or the end of a run of equal scores that this function led to. */
size_t mlc_next_positive(mlc_column *column, size_t i);

/* The end of the group of item `i`, in either order. */
size_t mlc_group_end(const mlc_column *column, size_t i);

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
