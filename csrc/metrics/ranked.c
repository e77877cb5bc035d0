/* Sorted columns as arrays, for what is searched along them at leisure. */
#include "columns.h"
#include "scores.h"

typedef struct {
    float *scores;
    int32_t *rows, *positives;
} ranked_job;

static void ranked_visit(void *context, size_t label, uint64_t *items, size_t n)
{
    const ranked_job *job = context;
    int32_t positives = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = label * n + i;
        positives += mlc_item_target(items[i]);
        job->scores[at] = mlc_score_of(mlc_item_rank(items[i]));
        job->rows[at] = (int32_t)mlc_item_row(items[i]);
        job->positives[at] = positives;
    }
}

mlc_status mlc_ranked_columns(const float *scores, const uint8_t *targets, size_t rows,
                              size_t labels, float *out_scores, int32_t *out_rows,
                              int32_t *out_positives, mlc_error *error)
{
    ranked_job job = {out_scores, out_rows, out_positives};
    return mlc_columns_visit("ranked_columns", scores, targets, rows, labels, ranked_visit, &job,
                             error);
}
