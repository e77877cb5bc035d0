/* A layer = {declare, shape, plan, forward, backward} and what those see.
 *
 * Conventions: backward writes dx (or adds to it where `accumulate` says so) and parameter
 * gradients likewise; `dy` is the layer's to destroy. Channels beyond c are zero in every tensor,
 * and a layer keeps them so. Work is cut by shape alone. forward and backward return false if they
 * were stopped half way. */
#ifndef MLC_LAYER_H
#define MLC_LAYER_H

#include "../base/rng.h"
#include "../base/status.h"
#include "../base/threads.h"
#include "../isa/select.h"
#include "tensor.h"

enum { MLC_MAX_INPUTS = 2, MLC_NAME = 96 };

/* Packed forms of weights: of direct sums forward and backward, and of a prediction of few photos
 * by Winograd's algorithm. */
typedef enum {
    MLC_FORWARD,
    MLC_BACK,
    MLC_FORWARD_BF16, /* for layers that round what they multiply, see mlc_needs */
    MLC_BACK_BF16,
    MLC_TAPS,
    MLC_FORMS
} mlc_form;

typedef struct {
    char name[MLC_NAME];
    int ndim;
    size_t dims[4], size;
    float *value;
    float *grad, *m, *v; /* made by mlc_net_prepare_training */
    bool trainable, decay;
    int group;
    unsigned step; /* of the optimizer, since clear_state */
} mlc_param;

typedef struct {
    char name[MLC_NAME];
    size_t size;
    float *value, *undo; /* undo: as before the training forward that is not stepped yet */
} mlc_buffer;

typedef struct {
    size_t out, kernel, stride, padding;
    double p, eps, momentum;
    bool bias;
    mlc_activation act;
} mlc_options;

typedef struct mlc_layer_class mlc_layer_class;

typedef struct {
    const mlc_layer_class *class;
    char name[MLC_NAME];
    size_t index;
    size_t inputs[MLC_MAX_INPUTS],
        input_count; /* tensors; the layer's output is tensor index + 1 */
    mlc_options options;
    size_t in_channels, in_stride, out_channels;
    mlc_param *weight, *bias;    /* NULL: none */
    mlc_buffer *mean, *variance; /* running statistics; NULL: none */
    float *packed[MLC_FORMS];    /* weights as the kernels read them; see conv */
    bool stale[MLC_FORMS];       /* the packed form is older than the weights */
    bool exact;                  /* no algorithm that rounds more than a direct sum */
} mlc_layer;

/* What a layer asks of a plan. */
typedef struct {
    size_t halo_in, halo_dy;        /* border of its input, and of the gradient it receives */
    size_t saved;                   /* bytes from forward to backward */
    size_t scratch, scratch_back;   /* bytes within one call */
    bool keeps_input, keeps_output; /* read again by backward, */
    bool keeps_second;              /* and the second input */
    bool packs;                     /* reads packed weights, */
    bool rounds;                    /* of bf16 in training that keeps copies in it, */
    bool predicts_taps;             /* in a prediction those of MLC_TAPS and no others */
    size_t workers;                 /* threads that the scratch is for; 0: it does not matter */
    bool rewrites;                  /* the output can be written again in backward */
    bool over_second;               /* and over the second input */
    bool in_place;                  /* backward can write dx[0] over dy */
    size_t dy_rows; /* backward can do with so many rows of its dy at a time; 0: with all only */
} mlc_needs;

/* What a convolution does with its output while that is in the cache: the moments of every channel
 * (of y as computed), then y = act(scale y + shift + residual), as far as asked for. */
typedef struct {
    double *mean, *variance;    /* out_channels numbers each, over all pixels; NULL: not wanted */
    const float *scale, *shift; /* a stride of floats each; NULL: y stays as it is */
    const float *residual;      /* a tensor of shape `like`; NULL: none; only with a scale */
    const mlc_tensor *like;
    mlc_activation act;
    const float *slope_at; /* a tensor of shape `like`: instead, y = y times act's slope at it */
} mlc_epilogue;

/* The processes that train one net together, each with its part of every batch; how they are
 * reached is the caller's. Each call returns false to stop the pass, and may not touch the net. */
typedef struct {
    void *context;
    /* Sum `values` over all processes, in place and to the same bits on each; NULL: a batch norm
     * knows its own part only. */
    bool (*sum)(void *context, double *values, size_t count);
    /* The gradients of the layer's parameters are complete; NULL: nobody wants to know. */
    bool (*ready)(void *context, const char *layer);
} mlc_peers;

typedef struct mlc_run {
    mlc_layer *layer;
    const mlc_tensor *in[MLC_MAX_INPUTS], *out;
    const float *x[MLC_MAX_INPUTS];
    float *y; /* NULL in forward: not to be written, its reader does this layer's work */
    void *saved, *scratch;
    size_t workers; /* as in the needs */
    bool rounds;    /* as in the needs, and the pass is such a one */
    bool train;
    mlc_key key;
    const mlc_peers *peers;       /* NULL: none */
    const mlc_epilogue *epilogue; /* of a convolution's forward; NULL: none */
    const mlc_epilogue
        *prologue;       /* of a layer's forward: what to do to x[0] first; NULL: nothing */
    const float *before; /* backward that goes through a layer before: x[0] of that; else NULL, */
    mlc_activation act;  /* and what it does */
    const double *mean, *variance; /* of x[0], where its writer has measured them; else NULL */
    /* of training: x[k] in bf16, row after row without a halo; NULL: there is none. After the
     * forward pass it is instead of x[k]. */
    const uint16_t *copy[MLC_MAX_INPUTS];
    /* backward only; shapes of gradients differ from those of values in their halo */
    const mlc_tensor *din[MLC_MAX_INPUTS], *dout;
    float *dx[MLC_MAX_INPUTS]; /* NULL: nobody needs it, or it is made row by row */
    float *dy;
    const struct mlc_run *maker; /* dy is not there: of the layer that makes its rows; else NULL */
    float *rows;                 /* a place for dy_rows such rows, for each of `workers` */
    bool accumulate[MLC_MAX_INPUTS], accumulate_params;
} mlc_run;

struct mlc_layer_class {
    const char *kind;
    size_t min_inputs, max_inputs;
    bool weight, statistics;
    const char *weight_name; /* NULL: "weight" */
    bool scales;             /* the weight is a scale and starts at 1; else at 0 */
    bool shifts;             /* has a bias, asked for or not */
    bool any_stride;         /* x[0] may have pixels of any number of floats */
    bool epilogue, prologue; /* forward does run->epilogue, run->prologue */
    bool activation;         /* y is a function of each number of x[0], and fold tells which */
    bool goes_through; /* such a layer before it needs neither run: forward does its prologue, and
                        * backward goes on to what that reads */
    bool reads_copy;   /* training takes run->copy[k] for x[k] */
    /* out_channels, and the dims of weight and bias, from in_channels and the options */
    mlc_status (*declare)(mlc_layer *layer, mlc_error *error);
    mlc_status (*shape)(const mlc_layer *layer, const mlc_tensor *const *in, bool train,
                        mlc_tensor *out, mlc_error *error);
    bool (*plan)(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                 mlc_needs *needs); /* false on overflow of a size */
    bool (*forward)(const mlc_run *run);
    bool (*backward)(const mlc_run *run);
    /* optional */
    size_t (*packed_floats)(const mlc_layer *layer, mlc_form form);
    bool (*pack)(mlc_layer *layer, mlc_form form);
    void (*commit)(const mlc_run *run); /* update running statistics after a whole forward */
    /* Forward as what is done to x[0] by its writer or a reader; in training after forward. */
    void (*fold)(const mlc_run *run, mlc_epilogue *epilogue);
    bool (*rewrite)(const mlc_run *run); /* y once more, from x[0] and saved, during backward */
    /* Of a layer of one input, after its backward: row `row` of dx[0], without a halo. */
    void (*make_row)(const mlc_run *run, size_t row, float *dx);
};

/* The running worker's place for rows of dy, where they are made. */
static inline float *mlc_rows_at(const mlc_run *run, size_t rows)
{
    if (!run->maker) return NULL;
    return run->rows + mlc_worker() * rows * run->dout->w * run->dout->stride;
}

/* Row `row` of dy: where it is, or made at `to`. */
static inline const float *mlc_dy_row(const mlc_run *run, size_t row, float *to)
{
    if (!run->maker) return run->dy + tensor_row_at(run->dout, row);
    run->maker->layer->class->make_row(run->maker, row, to);
    return to;
}

/* The declare of a layer without parameters that keeps its channels. */
static inline mlc_status mlc_same_channels(mlc_layer *layer, mlc_error *error)
{
    (void)error;
    layer->out_channels = layer->in_channels;
    return MLC_OK;
}

/* The shape of a layer that keeps the whole shape. */
static inline mlc_status mlc_same_shape(const mlc_layer *layer, const mlc_tensor *const *in,
                                        bool train, mlc_tensor *out, mlc_error *error)
{
    (void)layer, (void)train, (void)error;
    *out = (mlc_tensor){.n = in[0]->n, .h = in[0]->h, .w = in[0]->w, .c = in[0]->c};
    return MLC_OK;
}

#define LAYER(kind) extern const mlc_layer_class mlc_layer_##kind;
#include "layers.def"
#undef LAYER

#endif
