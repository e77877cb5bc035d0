/* What ranks scores: columns of a matrix as items, the radix sort of such a column, and the places
 * of a row's labels. An item is (rank << 32 | row << 1 | target), see base/rank.h. */

enum {
    ITEM_ROWS = 16, /* of the tile that is turned at once */
    ITEM_LABELS = 16,
    ITEM_AHEAD = 32, /* rows from one that is read to the one that is fetched */
};

/* Ranks of `width` scores of one row; returns whether one is NaN. */
static inline int rank_row(const float *scores, size_t width, uint32_t *rank)
{
    int nan = 0;
    for (size_t l = 0; l < width; l++) {
        rank[l] = mlc_rank_of(scores[l]);
        nan |= scores[l] != scores[l];
    }
    return nan;
}

/* `rows` rows of (rows, labels) matrices, the first of them number `row`, as items of `width`
 * labels: label l's go to items[l * column + 0...]. *nan becomes true where a score is NaN. A
 * target is whether it is not 0. Integers: the same on every instruction set. */
static void column_items(const float *scores, const uint8_t *targets, size_t row, size_t rows,
                         size_t labels, size_t width, uint64_t *items, size_t column, bool *nan)
{
    uint32_t rank[ITEM_ROWS][ITEM_LABELS];
    int found = 0;
    for (size_t i = 0; i < rows; i += ITEM_ROWS) {
        size_t n = rows - i < ITEM_ROWS ? rows - i : ITEM_ROWS;
        const float *score = scores + i * labels;
        const uint8_t *target = targets + i * labels;
        for (size_t r = 0; r < n; r++) {
            __builtin_prefetch(score + (ITEM_AHEAD + r) * labels);
            __builtin_prefetch(target + (ITEM_AHEAD + r) * labels);
            found |= width == ITEM_LABELS ? rank_row(score + r * labels, ITEM_LABELS, rank[r])
                                          : rank_row(score + r * labels, width, rank[r]);
        }
        for (size_t l = 0; l < width; l++)
            for (size_t r = 0; r < n; r++)
                items[l * column + i + r] =
                    (uint64_t)rank[r][l] << 32 | (row + i + r) << 1 | (target[r * labels + l] != 0);
    }
    if (found) *nan = true;
}

/* Turn a tile of ITEM_ROWS rows, to a line of as many scores for each of its `width` columns.
 * Riffling its halves moves index i to 2 i modulo one less than the size, so four times that moves
 * row * width + column to column * ITEM_ROWS + row. */
static inline __attribute__((always_inline)) void turn_tile(float *tile, size_t width)
{
    float riffled[ITEM_ROWS * ITEM_LABELS], *from = tile, *to = riffled;
    const size_t half = ITEM_ROWS * width / 2;
    for (int round = 0; round < 4; round++) {
        for (size_t k = 0; k < half; k++) {
            to[2 * k] = from[k];
            to[2 * k + 1] = from[half + k];
        }
        float *turned = to;
        to = from, from = turned;
    }
}

/* Copy `width` scores, -0 as +0; returns whether one is NaN. */
static inline int clean_row(const float *scores, size_t width, float *clean)
{
    int nan = 0;
    for (size_t l = 0; l < width; l++) {
        clean[l] = scores[l] + 0.0f;
        nan |= scores[l] != scores[l];
    }
    return nan;
}

/* Put what a label's list is sorted by at its end, if there is room: targets are a caller's memory,
 * and may have been fewer when they were counted. */
static inline void add_positive(float score, uint64_t *positives, size_t list, size_t *found)
{
    if (*found < list) positives[(*found)++] = (uint64_t)mlc_rank_of(score) << 32;
}

/* Add the ranks of a row's scores whose target is not 0 to the lists of their labels. Most targets
 * are 0, so eight are looked at in one word. */
static inline void add_positives(const float *scores, const uint8_t *targets, size_t width,
                                 uint64_t *positives, size_t list, size_t *found)
{
    size_t l = 0;
    for (; l + 8 <= width; l += 8) {
        uint64_t word;
        memcpy(&word, targets + l, sizeof word);
        while (word) {
            const size_t byte = (size_t)__builtin_ctzll(word) / 8, k = l + byte;
            add_positive(scores[k], positives + k * list, list, &found[k]);
            word &= ~((uint64_t)0xff << 8 * byte);
        }
    }
    for (; l < width; l++)
        if (targets[l]) add_positive(scores[l], positives + l * list, list, &found[l]);
}

static inline __attribute__((always_inline)) bool
columns_of(const float *scores, const uint8_t *targets, size_t rows, size_t labels, size_t width,
           float *columns, size_t column, uint64_t *positives, size_t list, size_t *found)
{
    float tile[ITEM_ROWS * ITEM_LABELS] = {0};
    int nan = 0;
    for (size_t i = 0; i < rows; i += ITEM_ROWS) {
        const size_t n = rows - i < ITEM_ROWS ? rows - i : ITEM_ROWS;
        for (size_t r = 0; r < n; r++) {
            const float *score = scores + (i + r) * labels;
            const uint8_t *target = targets + (i + r) * labels;
            __builtin_prefetch(score + ITEM_AHEAD * labels);
            __builtin_prefetch(target + ITEM_AHEAD * labels);
            add_positives(score, target, width, positives, list, found);
            nan |= clean_row(score, width, tile + r * width);
        }
        turn_tile(tile, width);
        for (size_t l = 0; l < width; l++)
            memcpy(columns + l * column + i, tile + l * ITEM_ROWS, ITEM_ROWS * sizeof *tile);
    }
    return nan;
}

/* `width` <= ITEM_LABELS columns of (rows, labels) matrices: label l's scores, -0 as +0, go to
 * columns[l * column + 0...], which has room for a multiple of ITEM_ROWS; the ranks of those whose
 * target is not 0 to the upper halves of positives[l * list + 0...], found[l] <= list of them.
 * *nan becomes true where a score is NaN. The same on every instruction set. */
static void column_scores(const float *scores, const uint8_t *targets, size_t rows, size_t labels,
                          size_t width, float *columns, size_t column, uint64_t *positives,
                          size_t list, size_t *found, bool *nan)
{
    memset(found, 0, width * sizeof *found);
    bool any;
    if (width == ITEM_LABELS) /* known widths are copied and turned in vectors */
        any = columns_of(scores, targets, rows, labels, ITEM_LABELS, columns, column, positives,
                         list, found);
    else if (width == ITEM_LABELS / 2)
        any = columns_of(scores, targets, rows, labels, ITEM_LABELS / 2, columns, column, positives,
                         list, found);
    else
        any = columns_of(scores, targets, rows, labels, width, columns, column, positives, list,
                         found);
    if (any) *nan = true;
}

enum { RADIX_COUNTERS = 3 * 2048, RADIX_SMALL = 2048 /* items; below, small digits are faster */ };

/* Sort by digits of `bits` bits, least significant first. All digits are counted in one pass; one
 * that is the same for all items is skipped. Returns which of the two arrays holds the result. */
static inline uint64_t *radix(uint64_t *items, uint64_t *spare, size_t n, int bits)
{
    uint32_t start[RADIX_COUNTERS];
    const int digits = (32 + bits - 1) / bits;
    const uint32_t size = 1u << bits, mask = size - 1;
    memset(start, 0, (size_t)digits * size * sizeof *start);
    for (size_t i = 0; i < n; i++)
        for (int d = 0; d < digits; d++)
            start[(uint32_t)d * size + ((uint32_t)(items[i] >> 32) >> d * bits & mask)]++;
    for (int d = 0; d < digits; d++) {
        uint32_t *at = start + (uint32_t)d * size, sum = 0;
        const int shift = 32 + d * bits;
        if (at[items[0] >> shift & mask] == n) continue;
        for (uint32_t k = size; k-- > 0;) {
            uint32_t count = at[k];
            at[k] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) spare[at[items[i] >> shift & mask]++] = items[i];
        uint64_t *sorted = spare;
        spare = items, items = sorted;
    }
    return items;
}

/* Sort fewer than 2^32 `items` by their upper 32 bits, descending, keeping the order of equal ones.
 * `spare` has room for as many; *sorted is set to which of the two holds the result. */
static void sort_descending(uint64_t *items, uint64_t *spare, size_t n, uint64_t **sorted)
{
    if (n < 2)
        *sorted = items;
    else
        *sorted = n < RADIX_SMALL ? radix(items, spare, n, 8) : radix(items, spare, n, 11);
}

/* *highest = the highest score below the limit, or of all where that is NaN; -inf without one. */
static void highest_below(const float *scores, size_t n, float limit, float *highest)
{
    const vf least = v_set(-INFINITY), bound = v_set(limit);
    vf best = least;
    float last[VN];
    size_t i = 0;
    for (; i + VN <= n; i += VN) {
        const vf x = v_load(scores + i);
        best = v_max(v_select(v_gt(x, bound), least, v_select(v_eq(x, bound), least, x)), best);
    }
    v_store(last, best);
    *highest = -INFINITY;
    for (size_t k = 0; k < VN; k++) *highest = last[k] > *highest ? last[k] : *highest;
    for (; i < n; i++)
        if (!(scores[i] >= limit) && scores[i] > *highest) *highest = scores[i];
}

/* The places of those of a row's `labels` < 2^32 labels that are there, in their order; *count is
 * how many. `present` and `place` have room for `labels`. Every label is compared with each that is
 * there, which are few. Integers: the same on every instruction set. */
static void row_places(const float *scores, const uint8_t *targets, size_t labels, float *present,
                       mlc_place *place, size_t *count)
{
    size_t n = 0;
    for (size_t l = 0; l < labels; l++)
        if (targets[l]) present[n++] = scores[l];
    for (size_t k = 0; k < n; k++) {
        uint32_t above = 0, reached = 0, found = 0;
        for (size_t l = 0; l < labels; l++) {
            above += scores[l] > present[k];
            reached += scores[l] >= present[k];
        }
        for (size_t l = 0; l < n; l++) found += present[l] >= present[k];
        place[k] = (mlc_place){above, reached, found};
    }
    *count = n;
}
