/* Radix sort, for everything that ranks scores. */

/* Sort `items` by their upper 32 bits, descending, keeping the order of equal ones. `spare` has
 * room for as many. Four passes of 8 bits, least significant first; the result ends in `items`. A
 * pass whose byte is the same for all is skipped. */
static void sort_descending(uint64_t *items, uint64_t *spare, size_t n)
{
    for (int shift = 32; shift < 64; shift += 8) {
        size_t start[256] = {0}, at = 0;
        for (size_t i = 0; i < n; i++) start[(items[i] >> shift) & 255]++;
        if (n && start[(items[0] >> shift) & 255] == n) continue;
        for (int digit = 255; digit >= 0; digit--) {
            size_t count = start[digit];
            start[digit] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++) spare[start[(items[i] >> shift) & 255]++] = items[i];
        memcpy(items, spare, n * sizeof *items);
    }
}
