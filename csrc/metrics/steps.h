/* What average precision, ROC AUC and the best F1 need of a label's ranking, without sorting it:
 * its positives, which are few, are sorted, and everything else is counted between them. */
#ifndef MLC_STEPS_H
#define MLC_STEPS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/rank.h"
#include "../base/status.h"

/* A score that a positive has. */
typedef struct {
    uint32_t rank;
    uint32_t above, reached; /* how many rows have a higher score, one at least as high */
    uint32_t found;          /* how many of the latter are positive */
} mlc_step;

/* A label: the scores of all rows in their order, -0 as +0, and a step for each score that a
 * positive has, from the highest. */
typedef struct {
    const float *scores;
    size_t rows;
    const mlc_step *steps;
    size_t count, positives;
} mlc_steps;

/* What to do with a label: called once for each, on any thread, in any order. */
typedef void mlc_steps_visit(void *context, size_t label, const mlc_steps *steps);

/* Visit every label of (rows, labels) matrices; a target is whether it is not 0. MLC_VALUE on a NaN
 * score (some labels may have been visited) and on 2^31 rows or more, MLC_MEMORY. `function` is
 * who the message names. */
mlc_status mlc_steps_of(const char *function, const float *scores, const uint8_t *targets,
                        size_t rows, size_t labels, mlc_steps_visit *visit, void *context,
                        mlc_error *error);

#endif
