/* Counting agreements of predictions and targets. */

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
