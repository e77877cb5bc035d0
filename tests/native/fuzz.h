/* Bytes that libFuzzer draws, read as arguments; where they have ended, zeros. Arrays are as long
 * as they must be and not a byte longer, so that AddressSanitizer sees what goes past them. */
#ifndef MLC_FUZZ_H
#define MLC_FUZZ_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/rng.h"
#include "../../csrc/base/threads.h"
#include "../../csrc/isa/select.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #what);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct {
    const uint8_t *at;
    size_t left;
} input;

static inline unsigned byte_of(input *in) { return in->left ? in->left--, *in->at++ : 0; }

static inline uint64_t number_of(input *in, int bytes)
{
    uint64_t value = 0;
    while (bytes--) value = value << 8 | byte_of(in);
    return value;
}

static inline size_t below(input *in, size_t n)
{
    return (size_t)number_of(in, n > 256 ? 2 : 1) % n;
}

#define ONE_OF(in, table) (table)[below(in, sizeof(table) / sizeof *(table))]

static uint8_t pattern; /* other in each run */

/* Memory that nobody has written: what a call leaves as it was differs from run to run. */
static inline void *room(size_t count, size_t bytes)
{
    void *made = malloc(count * bytes);
    CHECK(made || !(count * bytes));
    if (made) memset(made, pattern, count * bytes);
    return made;
}

/* Numbers for one call: a few that repeat, so that there are ties; those of the input, whatever
 * they are; or many different ones, some of them odd where `how` says so. */
typedef struct {
    input *in;
    mlc_key key;
    unsigned how;
    uint32_t drawn;
} numbers;

static inline numbers numbers_of(input *in)
{
    unsigned how = byte_of(in);
    return (numbers){.in = in, .how = how, .key = {.seed = number_of(in, 2)}};
}

static inline double next_number(numbers *n)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 3e38, 1e-45, 1e300};
    uint32_t word = mlc_rng_words(n->key, n->drawn++).word[0];
    switch (n->how % 4) {
    case 0: return (double)(word % 9) / 4 - 1;
    case 1: return (double)(int8_t)byte_of(n->in) / 16;
    case 2:
        if (word % 8 == 0) return odd[word / 8 % (sizeof odd / sizeof *odd)];
    }
    return 4 * (double)mlc_rng_float(word) - 2;
}

static inline float *floats_of(input *in, size_t count)
{
    float *made = room(count, sizeof *made);
    numbers n = numbers_of(in);
    for (size_t i = 0; i < count; i++) made[i] = (float)next_number(&n);
    return made;
}

static inline double *doubles_of(input *in, size_t count)
{
    double *made = room(count, sizeof *made);
    numbers n = numbers_of(in);
    for (size_t i = 0; i < count; i++) made[i] = next_number(&n);
    return made;
}

/* `share` of 256 are not 0; then they are anything. */
static inline uint8_t *bytes_of(input *in, size_t count)
{
    uint8_t *made = room(count, 1);
    unsigned share = byte_of(in);
    mlc_key key = {.seed = number_of(in, 2)};
    for (size_t i = 0; i < count; i++) {
        mlc_words drawn = mlc_rng_words(key, (uint32_t)i);
        made[i] = drawn.word[0] % 256 < share ? (uint8_t)drawn.word[1] : 0;
    }
    return made;
}

static inline uint64_t digest(uint64_t sum, const void *data, size_t bytes) /* FNV-1a */
{
    for (const uint8_t *at = data, *end = at + bytes; at < end; at++)
        sum = (sum ^ *at) * 0x100000001b3u;
    return sum;
}

/* One of the instruction sets that this machine has, for all that follows. */
static inline void choose_isa(input *in)
{
    const mlc_kernels *const *tables = mlc_isa_tables();
    size_t count = 0;
    while (tables[count]) count++;
    mlc_kernel = tables[byte_of(in) % count];
}

/* Do what the input says; a digest of the statuses and of all that is written. */
static uint64_t run(input in);

/* The same with one thread and with three: they must agree to the bit. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    choose_isa(&in);
    pattern = 0x55;
    mlc_threads_set(1);
    uint64_t alone = run(in);
    pattern = 0xaa;
    mlc_threads_set(3);
    CHECK(run(in) == alone);
    return 0;
}

#endif
