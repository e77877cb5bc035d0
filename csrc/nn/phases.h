/* Going back through a strided filter: which of its lines meet which pixels, along one axis.
 *
 * dx at u gathers dy at (u + p - r) / s where that is whole, for stride s, padding p and the filter
 * lines r. Pixels u of one remainder modulo s, a phase, meet the same lines. */
#ifndef MLC_PHASES_H
#define MLC_PHASES_H

#include "layer.h"

enum { MAX_KERNEL = 15 };

/* Along one axis, phase `a` holds the pixels a, a + s, ...: how many of `size`. */
static inline size_t phase_pixels(size_t size, size_t a, size_t s)
{
    return a < size ? (size - a + s - 1) / s : 0;
}

/* The filter lines that meet phase `a`, and how far along dy each reaches: r with a + p - r a
 * multiple of s, at distance (a + p - r) / s. Returns how many. */
static inline size_t phase_taps(const mlc_options *o, size_t a, size_t *line, ptrdiff_t *distance)
{
    size_t count = 0;
    for (size_t r = 0; r < o->kernel; r++) {
        ptrdiff_t away = (ptrdiff_t)(a + o->padding) - (ptrdiff_t)r;
        if (away % (ptrdiff_t)o->stride) continue;
        line[count] = r;
        distance[count++] = away / (ptrdiff_t)o->stride;
    }
    return count;
}

/* How far the gradient of one axis is read beyond its ends. */
static inline size_t reach(const mlc_options *o, size_t in, size_t out)
{
    ptrdiff_t halo = 0;
    for (size_t a = 0; a < o->stride; a++) {
        size_t line[MAX_KERNEL], count, pixels = phase_pixels(in, a, o->stride);
        ptrdiff_t distance[MAX_KERNEL];
        count = phase_taps(o, a, line, distance);
        for (size_t t = 0; t < count && pixels; t++) {
            ptrdiff_t before = -distance[t];
            ptrdiff_t after = (ptrdiff_t)(pixels - 1) + distance[t] - (ptrdiff_t)(out - 1);
            if (before > halo) halo = before;
            if (after > halo) halo = after;
        }
    }
    return (size_t)halo;
}

/* Taps of the phases before (a, b), in the order of a, then b. */
static inline size_t taps_before(const mlc_options *o, size_t a, size_t b)
{
    size_t line[MAX_KERNEL], taps = 0;
    ptrdiff_t distance[MAX_KERNEL];
    for (size_t i = 0; i < o->stride; i++)
        for (size_t j = 0; j < o->stride && (i < a || (i == a && j < b)); j++)
            taps += phase_taps(o, i, line, distance) * phase_taps(o, j, line, distance);
    return taps;
}

#endif
