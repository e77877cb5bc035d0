/* Counting predictions against targets. A label is there where its byte is not 0; the three counts
 * of decisions are, in this order, labels that are there and decided, that are there, that are
 * decided. */

/* *count += the cells where (score > thresh[label]) == (target != 0). A NaN score is above no
 * threshold. Integers: the same on every instruction set. */
static void count_equal(const float *scores, const uint8_t *targets, const float *thresh,
                        size_t rows, size_t labels, int64_t *count)
{
    for (size_t i = 0; i < rows; i++, scores += labels, targets += labels) {
        int64_t equal = 0;
        for (size_t j = 0; j < labels; j++) equal += (scores[j] > thresh[j]) == (targets[j] != 0);
        *count += equal;
    }
}

/* *count = how many scores are above the limit. */
static void count_over(const float *scores, size_t n, float limit, int64_t *count)
{
    uint32_t over = 0; /* of fewer than 2^32 */
    for (size_t i = 0; i < n; i++) over += scores[i] > limit;
    *count = over;
}

enum { COUNT_LABELS = 64, COUNT_ROWS = 255 /* what a byte can count */ };

/* One block of at most COUNT_ROWS rows and COUNT_LABELS labels, counted in bytes. */
static inline void count_block(const uint8_t *targets, const uint8_t *decided, size_t rows,
                               size_t labels, size_t width, int64_t *counts)
{
    uint8_t both[COUNT_LABELS] = {0}, there[COUNT_LABELS] = {0}, said[COUNT_LABELS] = {0};
    for (size_t i = 0; i < rows; i++, targets += labels, decided += labels)
        for (size_t l = 0; l < width; l++) {
            uint8_t t = targets[l] != 0, d = decided[l] != 0;
            both[l] += t & d, there[l] += t, said[l] += d;
        }
    for (size_t l = 0; l < width; l++) {
        counts[l] += both[l];
        counts[labels + l] += there[l];
        counts[2 * labels + l] += said[l];
    }
}

/* counts[k * labels + l] += the k-th count of label l. Integers: the same on every instruction set.
 */
static void count_labels(const uint8_t *targets, const uint8_t *decided, size_t rows, size_t labels,
                         int64_t *counts)
{
    for (size_t i = 0; i < rows; i += COUNT_ROWS) {
        size_t n = rows - i < COUNT_ROWS ? rows - i : COUNT_ROWS;
        for (size_t l = 0; l < labels; l += COUNT_LABELS) {
            const uint8_t *t = targets + i * labels + l, *d = decided + i * labels + l;
            if (labels - l >= COUNT_LABELS)
                count_block(t, d, n, labels, COUNT_LABELS, counts + l);
            else
                count_block(t, d, n, labels, labels - l, counts + l);
        }
    }
}

/* counts[k * step + i] = the k-th count of row i. Integers: the same on every instruction set. */
static void count_rows(const uint8_t *targets, const uint8_t *decided, size_t rows, size_t labels,
                       int64_t *counts, size_t step)
{
    for (size_t i = 0; i < rows; i++, targets += labels, decided += labels) {
        int64_t both = 0, there = 0, said = 0;
        for (size_t l = 0; l < labels; l++) {
            int t = targets[l] != 0, d = decided[l] != 0;
            both += t & d, there += t, said += d;
        }
        counts[i] = both, counts[step + i] = there, counts[2 * step + i] = said;
    }
}

/* As count_labels, with weights[i] for each of row i's: row after row, so that every instruction
 * set adds in the same order. */
static void weigh_labels(const uint8_t *targets, const uint8_t *decided, const double *weights,
                         size_t rows, size_t labels, double *sums)
{
    double *both = sums, *there = sums + labels, *said = sums + 2 * labels;
    for (size_t i = 0; i < rows; i++, targets += labels, decided += labels)
        for (size_t l = 0; l < labels; l++) {
            double t = targets[l] != 0 ? weights[i] : 0, d = decided[l] != 0 ? weights[i] : 0;
            both[l] += decided[l] != 0 ? t : 0, there[l] += t, said[l] += d;
        }
}

/* Histograms of `width` labels of (rows, labels) matrices: counts[(l << bits | bin) * 2 + target]
 * += 1. Bins are cut where all but the upper `bits` bits of a float are 0, are open below and
 * closed above: a score is above such a cut, strictly, where it lies in a bin above it. Scores are
 * not NaN. */
static void count_ranks(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                        size_t width, size_t bits, int64_t *counts)
{
    for (size_t i = 0; i < rows; i++, scores += labels, targets += labels)
        for (size_t l = 0; l < width; l++) {
            uint32_t rank = mlc_rank_of(scores[l]);
            /* Ranks of negatives, which are complements, end with a cut; the others begin with
             * one, and move down. */
            size_t bin = (rank - (rank >> 31)) >> (32 - bits);
            counts[(l << bits | bin) * 2 + (targets[l] != 0)]++;
        }
}

/* How many of the ascending `ranks` are less than `rank`: at least `from`, fewer than 2 * step
 * more. */
static inline size_t ranks_below(const uint32_t *ranks, uint32_t rank, size_t from, size_t step)
{
    for (; step; step >>= 1) from += ranks[from + step - 1] < rank ? step : 0;
    return from;
}

/* How many thresholds a score lies above, strictly: those of lower rank. */
static inline size_t grid_bin(const mlc_grid *grid, float score, size_t step)
{
    const uint32_t rank = mlc_rank_of(score);
    return ranks_below(grid->ranks, rank, grid->first[rank >> (32 - MLC_GRID_BITS)], step);
}

static inline void count_row(const float *scores, const uint8_t *targets, size_t labels,
                             const mlc_grid *grid, size_t step, uint32_t *counts, int32_t *exact)
{
    size_t from = 0, to = grid->count;
    for (size_t l = 0; l < labels; l++) {
        const size_t bin = grid_bin(grid, scores[l], step), target = targets[l] != 0;
        const size_t low = target ? 0 : bin, high = target ? bin : to;
        counts[(l * (grid->count + 1) + bin) * 2 + target]++;
        from = low > from ? low : from;
        to = high < to ? high : to;
    }
    if (from < to) exact[from]++, exact[to]--;
}

/* counts[(l * (grid->count + 1) + bin) * 2 + target] += how many of label l's scores lie above
 * `bin` thresholds. A row is decided exactly from the threshold that all its absent labels are not
 * above to the one that all its present ones are: exact[t] += the rows of which that is true from
 * threshold t on, and no longer. Scores are not NaN. */
static void count_above(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                        const mlc_grid *grid, uint32_t *counts, int32_t *exact)
{
    const size_t step = grid->step;
    for (size_t i = 0; i < rows; i++, scores += labels, targets += labels)
        if (step == 1)
            count_row(scores, targets, labels, grid, 1, counts, exact);
        else
            count_row(scores, targets, labels, grid, step, counts, exact);
}

enum { MARK_SCORES = 512 /* whose cells are worked out at once, on vectors */ };

/* Count a score of a cell; the next one to be kept overwrites it unless a mark is there. */
static inline size_t pass_score(uint32_t cell, float score, float *kept, size_t count,
                                uint32_t *passed)
{
    kept[count] = score;
    passed[cell]++;
    return count + (cell & 1);
}

/* Count the scores in cells without a mark, into even entries; keep the others. Two neighbours go
 * to two arrays: what is counted twice in a row would wait for itself. */
static inline size_t pass_scores(const float *scores, size_t n, const mlc_marks *marks, float *kept,
                                 uint32_t *passed, uint32_t *others)
{
    uint32_t cell[MARK_SCORES];
    size_t count = 0, i = 0;
    for (size_t k = 0; k < n; k++) cell[k] = mlc_mark_cell(marks, scores[k]);
    for (; i + 2 <= n; i += 2) {
        const uint32_t one = marks->cells[cell[i]], two = marks->cells[cell[i + 1]];
        count = pass_score(one, scores[i], kept, count, passed);
        count = pass_score(two, scores[i + 1], kept, count, others);
    }
    if (i < n) count = pass_score(marks->cells[cell[i]], scores[i], kept, count, passed);
    return count;
}

/* Count scores that have marks near them. */
static inline void compare_scores(const float *scores, size_t n, const mlc_marks *marks,
                                  uint32_t *counts)
{
    uint32_t rank[MARK_SCORES], cell[MARK_SCORES];
    for (size_t i = 0; i < n; i++) {
        rank[i] = mlc_rank_of(scores[i]);
        cell[i] = mlc_mark_cell(marks, scores[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t lower = marks->cells[cell[i]] >> 1;
        const size_t below = ranks_below(marks->ranks, rank[i], lower, marks->step);
        counts[2 * below + (marks->ranks[below] == rank[i])]++;
    }
}

/* counts[2 * b] = how many scores are above b of the marks and below the next, counts[2 * b + 1] =
 * how many equal mark b, 2 * marks->count + 2 entries; `passed` has room for twice as many. Scores
 * are not NaN. Whole numbers: the same on every instruction set. */
static void count_between(const float *scores, size_t n, const mlc_marks *marks, uint32_t *counts,
                          uint32_t *passed)
{
    const size_t size = 2 * marks->count + 2;
    float kept[MARK_SCORES];
    memset(counts, 0, size * sizeof *counts);
    memset(passed, 0, 2 * size * sizeof *passed);
    for (size_t i = 0; i < n; i += MARK_SCORES) {
        const size_t part = n - i < MARK_SCORES ? n - i : MARK_SCORES;
        const size_t count = pass_scores(scores + i, part, marks, kept, passed, passed + size);
        compare_scores(kept, count, marks, counts);
    }
    for (size_t b = 0; b < size; b += 2) counts[b] += passed[b] + passed[size + b];
}
