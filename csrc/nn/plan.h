/* A plan: a network compiled for one batch shape and mode. Every tensor, everything saved for
 * backward and all scratch have their place in one arena, worked out once from when they are alive;
 * running a plan allocates nothing. */
#ifndef MLC_PLAN_H
#define MLC_PLAN_H

#include "layer.h"

struct mlc_net;

typedef struct {
    mlc_tensor shape;
    size_t block; /* of the layout */
} mlc_slot;

enum { MLC_NONE = -1, MLC_MOST_PASSES = 4 };

/* Layers that work together. */
typedef struct {
    int norm;   /* of a convolution: the last batch norm that its epilogue works for, or MLC_NONE */
    int source; /* of that batch norm: the convolution */
    bool read_through; /* training: its one reader applies it; its output is not written */
    bool through;      /* and goes back through it: nor is there a gradient of its output */
    size_t moments;    /* training: the block of the convolution's mean and variance */
} mlc_fusion;

typedef struct {
    bool any;
    int first, last;
} mlc_span;

/* A value that is not kept from forward to backward but written again, by its writer or from a copy
 * in bf16. Where all who read it late take the copy, that is all there is. */
typedef struct {
    bool rewritten, written;
    mlc_span held; /* when it has a block of its own */
    mlc_span used; /* then or else it is written: in the place of what is written over it */
    int passes;    /* writings that this takes, with those above it */
    size_t block;
    bool copied;
    size_t copy; /* the block of the copy */
} mlc_again;

typedef struct mlc_plan {
    size_t n, h, w;
    bool train, busy;
    bool bf16;              /* training keeps copies in bf16 of what forward has written */
    size_t also;            /* a tensor that outlives the forward pass besides the last; 0: none */
    int threads;            /* that the scratch of its layers is for */
    mlc_slot *value, *grad; /* of each tensor */
    mlc_needs *needs;       /* of each layer */
    mlc_fusion *fusion;     /* of each layer */
    mlc_again *again;       /* of each tensor */
    bool *by_rows;          /* of each tensor: its gradient is made where it is read; see plan.c */
    mlc_run *back;          /* of each layer: its backward, where others make rows by it */
    size_t *saved, *scratch, *scratch_back, *rows;
    bool *wanted, *written; /* during backward: of each tensor's gradient */
    mlc_key key;            /* of the last forward */
    const mlc_peers *peers; /* of the call that is running, in training; NULL: none */
    double *seconds;        /* of each layer's last forward, then of each one's backward */
    mlc_layout layout;
    mlc_arena arena;
    struct mlc_plan *next;
} mlc_plan;

mlc_status mlc_plan_new(const struct mlc_net *net, size_t n, size_t h, size_t w, bool train,
                        size_t also, mlc_plan **out, mlc_error *error);
/* The bytes that it would take. */
mlc_status mlc_plan_bytes(const struct mlc_net *net, size_t n, size_t h, size_t w, bool train,
                          size_t *bytes, mlc_error *error);
/* Whether it is one for such a batch, the net's precision and as many threads as there are now. */
bool mlc_plan_fits(const mlc_plan *plan, const struct mlc_net *net, size_t n, size_t h, size_t w,
                   bool train, size_t also);
void mlc_plan_free(mlc_plan *plan);

/* Shapes of all tensors (1 + layers) for an input of n x h x w. */
mlc_status mlc_plan_shapes(const struct mlc_net *net, size_t n, size_t h, size_t w, bool train,
                           mlc_slot *value, mlc_error *error);

/* --- what is true of all plans of a net, and of one ------------------------------------------ */

/* When the backward of a layer runs; its forward does at the time of its index. */
int mlc_backward_time(const struct mlc_net *net, size_t layer);
/* The layer that reads tensor t, of which there is one. */
size_t mlc_only_reader(const struct mlc_net *net, size_t t);
/* Whether layer i runs in the place of its batch norm. */
bool mlc_is_folded(const mlc_plan *plan, size_t i);
/* Whether layer i multiplies numbers rounded to bf16. */
static inline bool mlc_rounds(const mlc_plan *plan, size_t i)
{
    return plan->train && plan->bf16 && plan->needs[i].rounds;
}
/* Numbers in a row of a copy in bf16, which has no border. */
static inline size_t mlc_copied_row(const mlc_tensor *t) { return t->w * t->stride; }

/* --- running one: passes.c ------------------------------------------------------------------- */

/* Copy between (n, h, w, c) without padding and a tensor of the arena; false if stopped half way.
 */
bool mlc_plan_put(const mlc_plan *plan, const mlc_slot *slot, const float *from);
void mlc_plan_take(const mlc_plan *plan, const mlc_slot *slot, float *to);

bool mlc_plan_forward(const struct mlc_net *net, mlc_plan *plan);
void mlc_plan_commit(const struct mlc_net *net, mlc_plan *plan);
bool mlc_plan_backward(const struct mlc_net *net, mlc_plan *plan, bool accumulate);

#endif
