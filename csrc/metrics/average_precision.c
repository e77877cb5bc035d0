/* What is measured on a label's sorted column. */
#include <math.h>

#include "columns.h"
#include "scores.h"

static void precision_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    double *out = context, sum = 0;
    size_t positives = 0;
    for (size_t i = 0; i < n;) {
        size_t before = positives, first = i;
        do positives += items[i] & 1;
        while (++i < n && items[i] >> 32 == items[first] >> 32);
        if (positives > before)
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
