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

/* The lowest offset where `b` meets none of the `n` blocks placed so far. Trying the end of each
 * of them, and 0, is enough: the best place starts where another block ends. */
static size_t lowest_offset(const mlc_block *b, mlc_block *const *placed, size_t n)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i <= n; i++) {
        size_t at = i < n ? placed[i]->offset + placed[i]->bytes : 0;
        if (at >= best) continue;
        bool free = true;
        for (size_t k = 0; free && k < n; k++)
            free = !alive_together(b, placed[k]) || at + b->bytes <= placed[k]->offset ||
                   placed[k]->offset + placed[k]->bytes <= at;
        if (free) best = at;
    }
    return best;
}

static double room(const mlc_block *b)
{
    return (double)b->bytes * (double)(b->last - b->first + 1);
}

static int larger_first(const void *a, const void *b)
{
    const mlc_block *x = *(mlc_block *const *)a, *y = *(mlc_block *const *)b;
    if (room(x) != room(y)) return room(x) > room(y) ? -1 : 1;
    return x < y ? -1 : x > y;
}

mlc_status mlc_layout_place(mlc_layout *layout, mlc_error *error)
{
    size_t sum = 0;
    mlc_block **order = malloc((layout->count + 1) * sizeof *order);
    if (!order) return mlc_fail(error, MLC_MEMORY, "no memory to place %zu blocks", layout->count);
    for (size_t i = 0; i < layout->count; i++) {
        order[i] = &layout->blocks[i];
        if (!mlc_add(sum, order[i]->bytes, &sum)) {
            free(order);
            return mlc_fail(error, MLC_MEMORY, "the blocks of the plan add up to more than memory");
        }
    }
    qsort(order, layout->count, sizeof *order, larger_first);
    layout->total = 0;
    for (size_t i = 0; i < layout->count; i++) {
        order[i]->offset = lowest_offset(order[i], order, i);
        size_t end = order[i]->offset + order[i]->bytes;
        if (end > layout->total) layout->total = end;
    }
    free(order);
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
