/* libFuzzer's way to metrics/: whole matrices of scores and targets, as the bindings let them pass.
 * Counts are compared with their definitions. */
#include "fuzz.h"

#include "../../csrc/metrics/counts.h"
#include "../../csrc/metrics/ranking.h"
#include "../../csrc/metrics/scores.h"
#include "../../csrc/metrics/thresholds.h"

static mlc_error error;

/* What all of the calls get. */
typedef struct {
    input in;
    size_t rows, labels, cells;
    float *scores;
    uint8_t *targets, *decided;
} matrices;

static double *weights_of(matrices *m)
{
    return byte_of(&m->in) & 1 ? doubles_of(&m->in, m->rows) : NULL;
}

/* What was written counts where the call did not refuse; then its memory is given back. */
static uint64_t take(uint64_t sum, mlc_status status, void *written, size_t bytes)
{
    sum = digest(sum, &status, sizeof status);
    if (!status) sum = digest(sum, written, bytes);
    free(written);
    return sum;
}

static uint64_t losses(matrices *m)
{
    unsigned flags = byte_of(&m->in);
    numbers n = numbers_of(&m->in);
    float *targets = floats_of(&m->in, m->cells);
    for (size_t i = 0; flags & 1 && i < m->cells; i++) targets[i] = m->targets[i] != 0;
    mlc_loss job = {.logits = m->scores, .targets = targets, .labels = m->labels};
    job.missing = flags & 2, job.weight_stride = flags & 4 ? 1 : 0;
    job.pos_weight_stride = flags & 8 ? 1 : 0;
    job.smoothing = (float)next_number(&n), job.clip = (float)next_number(&n);
    job.gamma_neg = fabsf((float)next_number(&n)), job.gamma_pos = fabsf((float)next_number(&n));
    if (isnan(job.gamma_neg) || isnan(job.gamma_pos)) job.gamma_neg = job.gamma_pos = 1;
    if (flags & 16) job.weight = floats_of(&m->in, flags & 4 ? m->cells : m->labels);
    if (flags & 32) job.pos_weight = floats_of(&m->in, flags & 8 ? m->cells : m->labels);
    if (flags & 64) job.loss = room(m->cells, sizeof *job.loss);
    job.grad = room(m->cells, sizeof *job.grad);
    double value = 0;
    mlc_status status =
        mlc_loss_value("fuzz", flags & 128 ? mlc_kernel->asymmetric : mlc_kernel->bce, &job,
                       m->labels ? m->rows : 0, byte_of(&m->in) & 1, &value, &error);
    uint64_t sum = status ? 0 : digest(0, &value, sizeof value);
    if (job.loss) sum = take(sum, status, job.loss, m->cells * sizeof *job.loss);
    sum = take(sum, status, job.grad, m->cells * sizeof *job.grad);
    free(targets), free((void *)job.weight), free((void *)job.pos_weight);
    return sum;
}

static uint64_t sigmoid(matrices *m)
{
    float *out = room(m->cells, sizeof *out);
    mlc_sigmoid(m->scores, out, m->cells);
    for (size_t i = 0; i < m->cells; i++)
        CHECK(isnan(m->scores[i]) ? isnan(out[i]) : out[i] >= 0 && out[i] <= 1);
    return take(0, MLC_OK, out, m->cells * sizeof *out);
}

static uint64_t accuracy(matrices *m)
{
    float *thresh = floats_of(&m->in, m->labels);
    int64_t want = 0, got;
    for (size_t i = 0; i < m->cells; i++)
        want += (m->scores[i] > thresh[i % m->labels]) == (m->targets[i] != 0);
    got = mlc_accuracy_count(m->scores, m->targets, thresh, m->rows, m->labels);
    CHECK(got == want);
    free(thresh);
    return 0;
}

static uint64_t ranked_columns(matrices *m)
{
    float *scores = room(m->cells, sizeof *scores);
    int32_t *rows = room(m->cells, sizeof *rows), *positives = room(m->cells, sizeof *positives);
    mlc_status status = mlc_ranked_columns(m->scores, m->targets, m->rows, m->labels, scores, rows,
                                           positives, &error);
    for (size_t i = 0; !status && i < m->cells; i++) {
        CHECK(rows[i] >= 0 && (size_t)rows[i] < m->rows);
        CHECK(scores[i] == m->scores[(size_t)rows[i] * m->labels + i / m->rows]);
    }
    uint64_t sum = take(0, status, scores, m->cells * sizeof *scores);
    sum = take(sum, status, rows, m->cells * sizeof *rows);
    return take(sum, status, positives, m->cells * sizeof *positives);
}

static uint64_t column_ranking(matrices *m)
{
    size_t count = m->labels * MLC_COLUMN_VALUES;
    double *weights = weights_of(m), *out = room(count, sizeof *out);
    mlc_status status =
        mlc_column_ranking(m->scores, m->targets, weights, m->rows, m->labels, out, &error);
    for (size_t i = 0; !status && !weights && i < count; i++)
        CHECK(isnan(out[i]) || (out[i] >= 0 && out[i] <= 1));
    free(weights);
    return take(0, status, out, count * sizeof *out);
}

static uint64_t column_curve(matrices *m)
{
    double *weights = weights_of(m);
    mlc_curve c = {room(m->labels, sizeof *c.length), room(m->cells, sizeof *c.row),
                   room(m->cells, sizeof *c.positive), room(m->cells, sizeof *c.all)};
    mlc_status status =
        mlc_column_curve(m->scores, m->targets, weights, m->rows, m->labels, &c, &error);
    uint64_t sum = 0;
    for (size_t l = 0; !status && l < m->labels; l++) {
        CHECK(c.length[l] >= 0 && (size_t)c.length[l] <= m->rows);
        size_t steps = (size_t)c.length[l];
        sum = digest(sum, c.row + l * m->rows, steps * sizeof *c.row);
        sum = digest(sum, c.positive + l * m->rows, steps * sizeof *c.positive);
        sum = digest(sum, c.all + l * m->rows, steps * sizeof *c.all);
    }
    free(weights), free(c.row), free(c.positive), free(c.all);
    return take(sum, status, c.length, m->labels * sizeof *c.length);
}

static uint64_t row_ranking(matrices *m)
{
    double *out = room(m->rows * MLC_ROW_VALUES, sizeof *out);
    mlc_status status = mlc_row_ranking(m->scores, m->targets, m->rows, m->labels, out, &error);
    return take(0, status, out, m->rows * MLC_ROW_VALUES * sizeof *out);
}

static uint64_t row_gains(matrices *m)
{
    double *gains = doubles_of(&m->in, m->labels + 1), *out = room(m->rows, sizeof *out);
    mlc_status status =
        mlc_row_gains(m->scores, m->targets, gains, m->rows, m->labels, out, &error);
    free(gains);
    return take(0, status, out, m->rows * sizeof *out);
}

/* `both`, `have` and `decided` of each label, or of each row. */
static uint64_t counts(matrices *m)
{
    bool of_rows = byte_of(&m->in) & 1;
    size_t count = of_rows ? m->rows : m->labels;
    int64_t *got = room(3 * count, sizeof *got), *want = calloc(3 * count + 1, sizeof *want);
    mlc_status status = MLC_OK;
    CHECK(want);
    if (of_rows)
        mlc_row_counts(m->targets, m->decided, m->rows, m->labels, got);
    else
        status = mlc_label_counts(m->targets, m->decided, m->rows, m->labels, got, &error);
    for (size_t i = 0; i < m->cells; i++) {
        size_t at = of_rows ? i / m->labels : i % m->labels;
        want[at] += m->targets[i] && m->decided[i];
        want[count + at] += m->targets[i] != 0;
        want[2 * count + at] += m->decided[i] != 0;
    }
    for (size_t i = 0; !status && i < 3 * count; i++) CHECK(got[i] == want[i]);
    free(want);
    return take(0, status, got, 3 * count * sizeof *got);
}

static uint64_t label_weights(matrices *m)
{
    double *weights = doubles_of(&m->in, m->rows), *sums = room(3 * m->labels, sizeof *sums);
    mlc_status status =
        mlc_label_weights(m->targets, m->decided, weights, m->rows, m->labels, sums, &error);
    free(weights);
    return take(0, status, sums, 3 * m->labels * sizeof *sums);
}

/* The bindings let counts of at most 2^32 pass; large ones take their time. */
static uint64_t histograms(matrices *m)
{
    size_t bits = 1 + below(&m->in, 12), bins = (size_t)1 << bits, count = m->labels * bins * 2;
    int64_t *histogram = room(count, sizeof *histogram);
    double *out = room(m->labels * MLC_RANKING_VALUES, sizeof *out);
    mlc_key key = {.seed = number_of(&m->in, 2)};
    unsigned top = 1u << below(&m->in, 10), share = byte_of(&m->in);
    for (size_t i = 0; i < count; i++) {
        mlc_words drawn = mlc_rng_words(key, (uint32_t)i);
        histogram[i] = drawn.word[0] % 256 < share ? drawn.word[1] % top : 0;
    }
    if (byte_of(&m->in) & 1)
        mlc_rank_histogram(m->scores, m->targets, m->rows, m->labels, bits, histogram);
    mlc_histogram_ranking(histogram, m->labels, bins, out);
    uint64_t sum = take(0, MLC_OK, histogram, count * sizeof *histogram);
    return take(sum, MLC_OK, out, m->labels * MLC_RANKING_VALUES * sizeof *out);
}

static uint64_t threshold_counts(matrices *m)
{
    size_t count = below(&m->in, 70), steps = count + 1;
    float *cuts = floats_of(&m->in, count);
    if (byte_of(&m->in) & 1) /* else they are refused, mostly */
        for (size_t i = 0; i < count; i++) cuts[i] = (float)i / 8 - 2;
    int64_t *found = room(m->labels * steps * 2, sizeof *found);
    int64_t *exact = room(steps, sizeof *exact);
    mlc_status status = mlc_threshold_counts(m->scores, m->targets, m->rows, m->labels, cuts, count,
                                             found, exact, &error);
    for (size_t l = 0; !status && l < m->labels; l++) {
        int64_t all = 0;
        for (size_t i = 0; i < 2 * steps; i++) all += found[2 * l * steps + i];
        CHECK((size_t)all == m->rows);
    }
    free(cuts);
    uint64_t sum = take(0, status, found, m->labels * steps * 2 * sizeof *found);
    return take(sum, status, exact, steps * sizeof *exact);
}

static uint64_t threshold_search(matrices *m)
{
    float *start = floats_of(&m->in, m->labels), *edges = room(m->labels * 2, sizeof *edges);
    int64_t *found = room(m->labels * MLC_CUT_COUNTS, sizeof *found);
    mlc_status status = mlc_threshold_search(m->scores, m->targets, m->rows, m->labels, start,
                                             byte_of(&m->in) & 1, edges, found, &error);
    free(start);
    uint64_t sum = take(0, status, edges, m->labels * 2 * sizeof *edges);
    return take(sum, status, found, m->labels * MLC_CUT_COUNTS * sizeof *found);
}

static uint64_t run(input in)
{
    static uint64_t (*const calls[])(matrices *) = {
        losses,       sigmoid,          accuracy,         ranked_columns, column_ranking,
        column_curve, row_ranking,      row_gains,        counts,         label_weights,
        histograms,   threshold_counts, threshold_search,
    };
    static const uint16_t sizes[] = {3, 0, 1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 100, 257, 1000};
    uint64_t (*call)(matrices *) = ONE_OF(&in, calls);
    matrices m = {.rows = ONE_OF(&in, sizes), .labels = below(&in, 70)};
    m.cells = m.rows * m.labels;
    m.scores = floats_of(&in, m.cells);
    m.targets = bytes_of(&in, m.cells), m.decided = bytes_of(&in, m.cells);
    m.in = in;
    uint64_t sum = call(&m);
    free(m.scores), free(m.targets), free(m.decided);
    return sum;
}
