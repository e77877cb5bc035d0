/* One block of memory for everything a plan needs, laid out once.
 *
 *   layout: ask for blocks with the span of time they are alive; blocks whose spans do not touch
 *           may share bytes. mlc_layout_place fixes every offset and the total size.
 *   arena:  the block itself, aligned and, where the system can, on huge pages. */
#ifndef MLC_ARENA_H
#define MLC_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"

enum { MLC_ALIGN = 64 };

typedef struct {
    size_t bytes, offset;
    int first, last; /* alive at the times first..last, both included */
} mlc_block;

typedef struct {
    mlc_block *blocks;
    size_t count, capacity, total;
} mlc_layout;

/* Ask for a block; its index in `*index`. Fails on no memory only. */
mlc_status mlc_layout_add(mlc_layout *layout, size_t bytes, int first, int last, size_t *index,
                          mlc_error *error);
/* First fit, in the order of some that takes the least (bytes, time alive, or both; ties by index):
 * the same offsets for the same requests. */
mlc_status mlc_layout_place(mlc_layout *layout, mlc_error *error);
void mlc_layout_done(mlc_layout *layout);

typedef struct {
    char *base;
    size_t bytes;
} mlc_arena;

mlc_status mlc_arena_new(mlc_arena *arena, size_t bytes, mlc_error *error);
void mlc_arena_free(mlc_arena *arena);

/* *product = a * b; false on overflow. Every size of the core goes through these two. */
static inline bool mlc_mul(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}
static inline bool mlc_add(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

#endif
