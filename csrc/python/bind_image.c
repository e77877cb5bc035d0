/* Augmentation of a batch. */
#include "../image/augment.h"
#include "../kernels/kernels.h"
#include "bindings.h"

/* Pixel positions are floats: beyond 2^24 they would miss pixels, or name some outside. */
enum { MAX_SIDE = 1 << 24 };

static int check_sides(const char *fn, const array_arg *images)
{
    for (int axis = 1; axis <= 2; axis++) {
        Py_ssize_t side = PyArray_DIM(images->array, axis);
        if (side <= MAX_SIDE) continue;
        PyErr_Format(PyExc_ValueError, "%s: `%s` must have sides of at most %d pixels, got %zd", fn,
                     images->name, MAX_SIDE, side);
        return -1;
    }
    return 0;
}

/* The shapes that follow from the batch. */
static int check_shapes(const char *fn, const array_arg *images, const array_arg *homography,
                        const array_arg *lighting, const array_arg *tint, const array_arg *turn,
                        const array_arg *mean, const array_arg *std)
{
    const npy_intp *shape = PyArray_DIMS(images->array);
    npy_intp rgb[4] = {shape[0], shape[1], shape[2], 3};
    npy_intp matrices[3] = {shape[0], 3, 3}, pairs[2] = {shape[0], 2}, channels[1] = {3};
    npy_intp maps[3] = {shape[0], 3, 4}, turns[1] = {shape[0]};
    if (array_shape(fn, images, 4, rgb) < 0 || array_shape(fn, homography, 3, matrices) < 0 ||
        array_shape(fn, lighting, 2, pairs) < 0 || array_shape(fn, tint, 3, maps) < 0 ||
        array_shape(fn, turn, 1, turns) < 0 || array_shape(fn, mean, 1, channels) < 0)
        return -1;
    return array_shape(fn, std, 1, channels);
}

/* `out` may have other sides than the images, where there are pixels to make it of. */
static int check_out(const char *fn, const array_arg *images, const array_arg *homography,
                     const array_arg *out)
{
    const npy_intp *from = PyArray_DIMS(images->array), *to = PyArray_DIMS(out->array);
    bool free = homography->array && from[1] > 0 && from[2] > 0;
    npy_intp want[4] = {from[0], free ? to[1] : from[1], free ? to[2] : from[2], 3};
    if (array_shape(fn, out, 4, want) < 0) return -1;
    return check_sides(fn, out);
}

BINDING(augment)
{
    static const char *fn = "augment";
    array_arg images = IN("images", NPY_UINT8, 4);
    array_arg homography = IN_OR_NONE("homography", NPY_FLOAT64, 3);
    array_arg lighting = IN_OR_NONE("lighting", NPY_FLOAT32, 2);
    array_arg tint = IN_OR_NONE("tint", NPY_FLOAT32, 3), turn = IN_OR_NONE("turn", NPY_FLOAT32, 1);
    array_arg mean = IN("mean", NPY_FLOAT32, 1), std = IN("std", NPY_FLOAT32, 1);
    array_arg out = OUT("out", NPY_FLOAT32, 4);
    uint64_t border, nearest, edges;
    (void)module;
    if (args_count(fn, nargs, 11) < 0 || array_get(fn, &images, args[0]) < 0 ||
        array_get(fn, &homography, args[1]) < 0 ||
        uint_get(fn, "border", args[2], MLC_ZEROS, &border) < 0 ||
        uint_get(fn, "nearest", args[3], 1, &nearest) < 0 ||
        uint_get(fn, "edges", args[4], 1, &edges) < 0 || array_get(fn, &lighting, args[5]) < 0 ||
        array_get(fn, &tint, args[6]) < 0 || array_get(fn, &turn, args[7]) < 0 ||
        array_get(fn, &mean, args[8]) < 0 || array_get(fn, &std, args[9]) < 0 ||
        array_get(fn, &out, args[10]) < 0 || check_sides(fn, &images) < 0 ||
        check_shapes(fn, &images, &homography, &lighting, &tint, &turn, &mean, &std) < 0 ||
        check_out(fn, &images, &homography, &out) < 0)
        return NULL;
    mlc_augment job = {.images = array_data(&images),
                       .count = array_dim(&images, 0),
                       .height = array_dim(&images, 1),
                       .width = array_dim(&images, 2),
                       .homography = array_data(&homography),
                       .border = (int)border,
                       .nearest = nearest,
                       .edges = edges,
                       .lighting = array_data(&lighting),
                       .tint = array_data(&tint),
                       .turn = array_data(&turn),
                       .mean = array_data(&mean),
                       .std = array_data(&std),
                       .out = array_data(&out),
                       .out_height = array_dim(&out, 1),
                       .out_width = array_dim(&out, 2)};
    Py_BEGIN_ALLOW_THREADS
        mlc_augment_run(&job);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
