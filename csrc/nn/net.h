/* A network: layers, their parameters and running statistics, and the plans that run it.
 *
 * Locking: predictions read under `lock` and may run side by side, each with a plan of its own; a
 * training forward, backward and an optimizer step write under it, so a prediction waits for at
 * most one of them. In a child that was forked while another thread wrote, passes and steps are
 * refused with MLC_STATE: nobody will finish what was begun. Plans are linked and taken out so that
 * their list is whole at any moment. */
#ifndef MLC_NET_H
#define MLC_NET_H

#include "layer.h"
#include "plan.h"

enum { MLC_MAX_GROUPS = 64, MLC_IDLE_PLANS = 4 };

typedef struct {
    const char *kind, *name;
    size_t inputs[MLC_MAX_INPUTS], input_count;
    mlc_options options;
} mlc_layer_spec;

typedef struct mlc_net {
    mlc_layer *layers;
    mlc_param *params;
    mlc_buffer *buffers;
    size_t layer_count, param_count, buffer_count, channels, input_stride, groups;
    mlc_lock lock, pool_lock;
    mlc_plan *plans;    /* a list, newest first; under pool_lock */
    mlc_plan *training; /* holds the forward pass that backward may follow */
    double *seconds;    /* as mlc_plan's, of the last whole training pass */
    bool can_step, can_undo;
    bool bf16; /* training keeps bf16 of what forward writes; see plan.h */
} mlc_net;

/* `exact`: convolutions by direct sums only. Layer i reads the tensors it names (0 is the image
 * batch of `channels` channels) and writes tensor i + 1. Weights start at 0, except for batch
 * norm's, which start at 1; running variances at 1. */
mlc_status mlc_net_new(const mlc_layer_spec *specs, size_t count, size_t channels, bool exact,
                       mlc_net **out, mlc_error *error);
void mlc_net_free(mlc_net *net);

/* (h, w, c) of tensor t, which is the output of layer t - 1, for such a batch. */
mlc_status mlc_net_output(mlc_net *net, size_t n, size_t h, size_t w, bool train, size_t t,
                          size_t shape[3], mlc_error *error);

/* From the next forward pass on. */
void mlc_net_set_bf16(mlc_net *net, bool bf16);

/* Bytes of the plan for such a batch. */
mlc_status mlc_net_memory(mlc_net *net, size_t n, size_t h, size_t w, bool train, size_t *bytes,
                          mlc_error *error);

/* A forward pass. In training, batch statistics are used, dropout drops, and the running statistics
 * move once the pass is complete. */
typedef struct {
    const float *x; /* (n, h, w, channels) */
    size_t n, h, w;
    bool train;
    mlc_key key;
    float *out;             /* (n, h', w', c') as mlc_net_output says of the last tensor */
    size_t also;            /* a prediction's other tensor that is wanted; 0: none */
    float *also_out;        /* as mlc_net_output says of that */
    const mlc_peers *peers; /* training: who has the rest of the batch; NULL: nobody */
} mlc_pass;

mlc_status mlc_net_forward(mlc_net *net, const mlc_pass *pass, mlc_error *error);

/* (n, h, w, c) of the last training forward's output, whose gradient backward takes. MLC_STATE if
 * there is none. */
mlc_status mlc_net_gradient_shape(mlc_net *net, size_t shape[4], mlc_error *error);

/* Gradients of every trainable parameter from the gradient of the last training forward's output,
 * of `shape`: MLC_STATE if that forward is not the last one any more. A stopped pass undoes the
 * running statistics that no step has followed; stopped before it had the net, it changes nothing.
 * `peers` as in the forward. */
mlc_status mlc_net_backward(mlc_net *net, const float *gradient, const size_t shape[4],
                            bool accumulate, const mlc_peers *peers, mlc_error *error);

/* MLC_STATE if what the net's lock guards is half written; asked by who holds it. */
mlc_status mlc_net_whole(const mlc_net *net, mlc_error *error);

/* The running statistics as before the training forwards that no step has followed. */
void mlc_net_rollback(mlc_net *net);

mlc_param *mlc_net_param(mlc_net *net, const char *name);
mlc_buffer *mlc_net_buffer(mlc_net *net, const char *name);

/* Parameters were written from outside: their packed forms are made again. */
void mlc_net_refresh(mlc_net *net);

/* Gradients and the optimizer's moments exist from here on. */
mlc_status mlc_net_prepare_training(mlc_net *net, mlc_error *error);

/* optim.c: one step of an optimizer on the trainable parameters; consumes and zeroes the gradients.
 * Each array of hyper-parameters has a number for every group; those that the rule does not know
 * are not read. `function` is whose name an error starts with. */
typedef enum { MLC_ADAM, MLC_SGD, MLC_RADAM, MLC_LION } mlc_rule;
typedef struct {
    const double *lr, *mom, *sqr_mom, *eps, *wd;
} mlc_hypers;
mlc_status mlc_net_step(mlc_net *net, mlc_rule rule, const mlc_hypers *hypers, const char *function,
                        mlc_error *error);
void mlc_net_clear_state(mlc_net *net);

/* What an optimizer remembers of a parameter. Writing clears those that are not named, or have no
 * step; the caller holds the lock, after mlc_net_prepare_training. */
typedef struct {
    mlc_param *param;
    unsigned step;
    const float *m, *v;
} mlc_kept;
void mlc_net_write_state(mlc_net *net, const mlc_kept *kept, size_t count);

#endif
