/* What is measured on a label's sorted column. */
#include <math.h>

#include "columns.h"
#include "scores.h"

/* The first item from `i` on whose target is 1, or n. */
static size_t next_positive(const uint64_t *items, size_t i, size_t n)
{
    for (; i + 8 <= n; i += 8) {
        uint64_t any = 0;
        for (size_t k = 0; k < 8; k++) any |= items[i + k];
        if (any & 1) break;
    }
    while (i < n && !(items[i] & 1)) i++;
    return i;
}

/* Only runs of equal scores with a positive count, so only they are looked for. */
static void precision_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    double *out = context, sum = 0;
    size_t positives = 0;
    for (size_t i = next_positive(items, 0, n); i < n; i = next_positive(items, i, n)) {
        size_t before = positives++;
        const uint64_t rank = items[i] >> 32;
        while (++i < n && items[i] >> 32 == rank) positives += items[i] & 1;
        sum += (double)(positives - before) * ((double)positives / (double)i);
    }
    out[label] = positives ? sum / (double)positives : NAN;
}

mlc_status mlc_average_precision(const float *scores, const uint8_t *targets, size_t rows,
                                 size_t labels, double *out, mlc_error *error)
{
    return mlc_columns_visit("average_precision", scores, targets, rows, labels, precision_visit,
                             out, error);
}
