#define _GNU_SOURCE
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

mlc_status mlc_layout_add(mlc_layout *layout, size_t bytes, int first, int last, size_t *index,
                          mlc_error *error)
{
    if (layout->count == layout->capacity) {
        size_t capacity = layout->capacity ? 2 * layout->capacity : 64;
        mlc_block *grown = realloc(layout->blocks, capacity * sizeof *grown);
        if (!grown)
            return mlc_fail(error, MLC_MEMORY, "no memory for a plan of %zu blocks", capacity);
        layout->blocks = grown;
        layout->capacity = capacity;
    }
    if (bytes > SIZE_MAX / 2) return mlc_fail(error, MLC_MEMORY, "a block of %zu bytes", bytes);
    size_t rounded = (bytes + MLC_ALIGN - 1) / MLC_ALIGN * MLC_ALIGN;
    *index = layout->count;
    layout->blocks[layout->count++] = (mlc_block){.bytes = rounded, .first = first, .last = last};
    return MLC_OK;
}

static bool alive_together(const mlc_block *a, const mlc_block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* A block and what decides when it is placed: the larger first, then the second, then its index. */
typedef struct {
    double first, second;
    mlc_block *block;
} mlc_ranked;

/* The lowest offset where `b` meets none of the `n` blocks placed so far. Trying the end of each
 * of them, and 0, is enough: the best place starts where another block ends. */
static size_t lowest_offset(const mlc_block *b, const mlc_ranked *placed, size_t n)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i <= n; i++) {
        size_t at = i < n ? placed[i].block->offset + placed[i].block->bytes : 0;
        if (at >= best) continue;
        bool free = true;
        for (size_t k = 0; free && k < n; k++)
            free = !alive_together(b, placed[k].block) ||
                   at + b->bytes <= placed[k].block->offset ||
                   placed[k].block->offset + placed[k].block->bytes <= at;
        if (free) best = at;
    }
    return best;
}

static int larger_first(const void *a, const void *b)
{
    const mlc_ranked *x = a, *y = b;
    if (x->first != y->first) return x->first > y->first ? -1 : 1;
    if (x->second != y->second) return x->second > y->second ? -1 : 1;
    return x->block < y->block ? -1 : x->block > y->block;
}

typedef enum { BY_ROOM, BY_BYTES, BY_BYTES_AND_START, BY_LIFE, ORDERS } mlc_order;

static void rank(mlc_ranked *ranked, mlc_order order)
{
    const mlc_block *b = ranked->block;
    double bytes = (double)b->bytes, life = (double)(b->last - b->first + 1);
    double first[ORDERS] = {bytes * life, bytes, bytes, life};
    double second[ORDERS] = {0, life, -(double)b->first, bytes};
    ranked->first = first[order];
    ranked->second = second[order];
}

/* Place all blocks, each at the lowest offset that is free, and set their total. */
static void place_by(mlc_layout *layout, mlc_order order, mlc_ranked *ranked)
{
    layout->total = 0;
    for (size_t i = 0; i < layout->count; i++) rank(&ranked[i], order);
    qsort(ranked, layout->count, sizeof *ranked, larger_first);
    for (size_t i = 0; i < layout->count; i++) {
        mlc_block *block = ranked[i].block;
        block->offset = lowest_offset(block, ranked, i);
        if (block->offset + block->bytes > layout->total)
            layout->total = block->offset + block->bytes;
    }
}

mlc_status mlc_layout_place(mlc_layout *layout, mlc_error *error)
{
    size_t sum = 0, least = SIZE_MAX;
    mlc_ranked *ranked = malloc((layout->count + 1) * sizeof *ranked);
    if (!ranked) return mlc_fail(error, MLC_MEMORY, "no memory to place %zu blocks", layout->count);
    for (size_t i = 0; i < layout->count; i++) {
        ranked[i].block = &layout->blocks[i];
        if (!mlc_add(sum, layout->blocks[i].bytes, &sum)) {
            free(ranked);
            return mlc_fail(error, MLC_MEMORY, "the blocks of the plan add up to more than memory");
        }
    }
    mlc_order best = 0;
    for (mlc_order order = 0; order < ORDERS; order++) {
        place_by(layout, order, ranked);
        if (layout->total < least) least = layout->total, best = order;
    }
    place_by(layout, best, ranked);
    free(ranked);
    return MLC_OK;
}

void mlc_layout_done(mlc_layout *layout)
{
    free(layout->blocks);
    *layout = (mlc_layout){0};
}

mlc_status mlc_arena_new(mlc_arena *arena, size_t bytes, mlc_error *error)
{
    enum { HUGE_PAGE = 2 << 20 };
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : MLC_ALIGN;
    void *base = NULL;
    if (bytes > SIZE_MAX / 2 || posix_memalign(&base, align, bytes ? bytes : 1))
        return mlc_fail(error, MLC_MEMORY, "no memory for an arena of %zu MB", bytes >> 20);
#if defined(MADV_HUGEPAGE)
    if (align == HUGE_PAGE) madvise(base, bytes, MADV_HUGEPAGE);
#endif
    *arena = (mlc_arena){.base = base, .bytes = bytes};
    return MLC_OK;
}

void mlc_arena_free(mlc_arena *arena)
{
    free(arena->base);
    *arena = (mlc_arena){0};
}
