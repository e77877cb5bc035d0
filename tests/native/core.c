/* The core without Python, for tools that watch a whole program: the sanitizers of threads, leaks
 * and addresses, and valgrind. Everything that may run side by side does, on all threads of the
 * pool, and each answer is compared with a definition or with what one thread alone found.
 *
 *   core [rounds]    more rounds, more chances to meet; 1 is enough for valgrind */
#define _GNU_SOURCE
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/rng.h"
#include "../../csrc/base/threads.h"
#include "../../csrc/image/augment.h"
#include "../../csrc/isa/select.h"
#include "../../csrc/metrics/counts.h"
#include "../../csrc/metrics/ranking.h"
#include "../../csrc/metrics/scores.h"
#include "../../csrc/metrics/thresholds.h"
#include "../../csrc/nn/net.h"

static mlc_error error;

#define CHECK(what)                                                                         \
    do {                                                                                    \
        if (!(what)) {                                                                      \
            fprintf(stderr, "%s:%d: %s does not hold (%s)\n", __FILE__, __LINE__, #what,    \
                    error.text);                                                            \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

static void *room(size_t count, size_t bytes)
{
    void *made = calloc(count, bytes);
    CHECK(made);
    return made;
}

/* Draw i of a sequence, in [-1, 1). */
static float drawn(uint32_t sequence, size_t i)
{
    mlc_words words = mlc_rng_words((mlc_key){5, 0, 0, sequence}, (uint32_t)i);
    return 2 * mlc_rng_float(words.word[0]) - 1;
}

typedef void *thread_main(void *);

/* Run `main` on n threads, each with an argument of `bytes` bytes, and wait for all. */
static void run_side_by_side(thread_main *main, void *arguments, size_t bytes, size_t n)
{
    pthread_t threads[16];
    CHECK(n <= 16);
    for (size_t i = 0; i < n; i++)
        CHECK(!pthread_create(&threads[i], NULL, main, (char *)arguments + i * bytes));
    for (size_t i = 0; i < n; i++) CHECK(!pthread_join(threads[i], NULL));
}

/* --- the pool -------------------------------------------------------------------------------- */

enum { TASKS = 500 };

typedef struct {
    int done[TASKS];
    size_t inner;
    size_t workers; /* bound of mlc_worker */
} tally;

static void one_more(void *context, size_t i) { ((tally *)context)->done[i]++; }

static void nested(void *context, size_t i)
{
    tally *t = context, within = {0};
    CHECK(mlc_worker() < t->workers);
    if (i % 100 == 0) {
        CHECK(mlc_parallel_for(TASKS, one_more, &within));
        for (size_t k = 0; k < TASKS; k++) CHECK(within.done[k] == 1);
    }
    t->done[i]++;
}

static bool stop_at_once(void *context)
{
    ++*(int *)context;
    return true;
}

static void linger(void *context, size_t i)
{
    struct timespec moment = {.tv_nsec = 1000000};
    nanosleep(&moment, NULL);
    one_more(context, i);
}

static void *use_pool(void *rounds)
{
    for (size_t r = 0; r < 4 * *(size_t *)rounds; r++) {
        tally t = {.workers = 256};
        CHECK(mlc_parallel_for(TASKS, nested, &t));
        for (size_t k = 0; k < TASKS; k++) CHECK(t.done[k] == 1);
        mlc_threads_set(2 + (int)(r % 3));
    }
    tally t = {0};
    int asked = 0;
    mlc_poll_set(stop_at_once, &asked);
    CHECK(!mlc_parallel_for(TASKS, linger, &t));
    CHECK(asked == 1 && !mlc_parallel_for(TASKS, one_more, &t));
    mlc_poll_set(NULL, NULL);
    return NULL;
}

/* --- a network that is trained and asked ------------------------------------------------------ */

enum { BATCH = 3, SIDE = 33, LABELS = 5, STEPS = 4 };

/* A small ResNet with everything that the plans know to fuse, share and leave out. */
static mlc_net *new_net(bool exact)
{
    static const mlc_layer_spec specs[] = {
        {"conv", "stem", {0}, 1, {.out = 32, .kernel = 7, .stride = 2, .padding = 3}},
        {"batchnorm", "bn0", {1}, 1, {.eps = 1e-5, .momentum = 0.1, .act = MLC_RELU}},
        {"maxpool", "", {2}, 1, {.kernel = 3, .stride = 2, .padding = 1}},
        {"conv", "a", {3}, 1, {.out = 32, .kernel = 3, .stride = 1, .padding = 1}},
        {"batchnorm", "bn1", {4}, 1, {.eps = 1e-5, .momentum = 0.1, .act = MLC_RELU}},
        {"conv", "b", {5}, 1, {.out = 32, .kernel = 3, .stride = 1, .padding = 1}},
        {"batchnorm", "bn2", {6, 3}, 2, {.eps = 1e-5, .momentum = 0.1, .act = MLC_RELU}},
        {"conv", "c", {7}, 1, {.out = 48, .kernel = 3, .stride = 2, .padding = 1}},
        {"batchnorm", "bn3", {8}, 1, {.eps = 1e-5, .momentum = 0.1}},
        {"conv", "d", {7}, 1, {.out = 48, .kernel = 1, .stride = 2, .bias = true}},
        {"batchnorm", "bn4", {10, 9}, 2, {.eps = 1e-5, .momentum = 0.1, .act = MLC_RELU}},
        {"concatpool", "", {11}, 1, {0}},
        {"dropout", "", {12}, 1, {.p = 0.3}},
        {"linear", "head", {13}, 1, {.out = LABELS, .bias = true}},
    };
    mlc_net *net;
    CHECK(!mlc_net_new(specs, sizeof specs / sizeof *specs, 3, exact, &net, &error));
    for (size_t i = 0; i < net->param_count; i++) {
        mlc_param *p = &net->params[i];
        if (p->ndim < 2) continue;
        float scale = sqrtf(3.0f / (float)(p->size / p->dims[0]));
        for (size_t k = 0; k < p->size; k++) p->value[k] = scale * drawn((uint32_t)i, k);
    }
    mlc_net_refresh(net);
    return net;
}

static float *new_photos(void)
{
    size_t count = BATCH * SIDE * SIDE * 3;
    float *photos = room(count, sizeof *photos);
    for (size_t i = 0; i < count; i++) photos[i] = drawn(1000, i);
    return photos;
}

typedef struct {
    float logits[BATCH * LABELS];
} answer;

/* What the net says of the first n photos. */
static answer ask(mlc_net *net, const float *photos, size_t n)
{
    answer a = {{0}};
    mlc_pass pass = {.x = photos, .n = n, .h = SIDE, .w = SIDE, .out = a.logits};
    CHECK(!mlc_net_forward(net, &pass, &error));
    return a;
}

/* A step; with `known`, what the net says after its forward pass, which moves the running
 * statistics, and after the whole of it. */
static void train_step(mlc_net *net, const float *photos, uint32_t step, answer *known)
{
    static const mlc_rule rules[] = {MLC_ADAM, MLC_SGD, MLC_RADAM, MLC_LION};
    const double lr = 1e-2, mom = 0.9, sqr_mom = 0.99, eps = 1e-5, wd = 0.01;
    const mlc_hypers hypers = {&lr, &mom, &sqr_mom, &eps, &wd};
    float logits[BATCH * LABELS], targets[BATCH * LABELS], grad[BATCH * LABELS];
    const size_t shape[4] = {BATCH, 1, 1, LABELS};
    mlc_pass pass = {.x = photos, .n = BATCH, .h = SIDE, .w = SIDE, .train = true, .out = logits,
                     .key = {.seed = 3, .epoch = step}};
    for (size_t i = 0; i < BATCH * LABELS; i++) targets[i] = drawn(1001, i) > 0;
    CHECK(!mlc_net_forward(net, &pass, &error));
    if (known) known[0] = ask(net, photos, BATCH);
    mlc_loss loss = {.logits = logits, .targets = targets, .labels = LABELS, .grad = grad};
    double value;
    CHECK(!mlc_loss_value("core", mlc_kernel->bce, &loss, BATCH, true, &value, &error));
    CHECK(isfinite(value));
    CHECK(!mlc_net_backward(net, grad, shape, false, NULL, &error));
    CHECK(!mlc_net_step(net, rules[step % 4], &hypers, "core", &error));
    if (known) known[1] = ask(net, photos, BATCH);
}

enum { STATES = 2 * STEPS + 1 };

typedef struct {
    mlc_net *net;
    const float *photos;
    const answer *known; /* of all photos, in each state that the net has */
    atomic_bool *ended;
    size_t n;
} asking;

/* Ask until the training has ended; each answer is that of one state. */
static void *ask_on(void *argument)
{
    asking *a = argument;
    bool last;
    do {
        last = atomic_load(a->ended);
        answer now = ask(a->net, a->photos, a->n);
        size_t state = 0, bytes = a->n * LABELS * sizeof *now.logits;
        while (state < STATES && memcmp(now.logits, a->known[state].logits, bytes)) state++;
        CHECK(state < STATES);
        CHECK(!last || state == STATES - 1);
    } while (!last);
    return NULL;
}

/* Photos of a batch are asked one by one too: their answers must not depend on their company, which
 * is so for direct sums. */
static void train_and_ask(bool exact)
{
    answer known[STATES];
    float *photos = new_photos();
    mlc_threads_set(1);
    mlc_net *alone = new_net(exact), *net = new_net(exact);
    known[0] = ask(alone, photos, BATCH);
    for (uint32_t step = 0; step < STEPS; step++)
        train_step(alone, photos, step, &known[2 * step + 1]);
    mlc_threads_set(3);
    atomic_bool ended = false;
    asking each[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        each[i] = (asking){net, photos, known, &ended, exact && i ? 1 : BATCH};
        CHECK(!pthread_create(&threads[i], NULL, ask_on, &each[i]));
    }
    for (uint32_t step = 0; step < STEPS; step++) train_step(net, photos, step, NULL);
    atomic_store(&ended, true);
    for (size_t i = 0; i < 3; i++) CHECK(!pthread_join(threads[i], NULL));
    for (size_t i = 0; i < net->param_count; i++)
        CHECK(!memcmp(net->params[i].value, alone->params[i].value,
                      net->params[i].size * sizeof(float)));
    mlc_net_rollback(net);
    mlc_net_clear_state(net);
    mlc_net_free(net);
    mlc_net_free(alone);
    free(photos);
}

/* --- metrics --------------------------------------------------------------------------------- */

enum { ROWS = 700, MANY = 21, CUTS = 9 };

typedef struct {
    float *scores;
    uint8_t *targets;
} table;

static table new_table(void)
{
    table t = {room(ROWS * MANY, sizeof(float)), room(ROWS * MANY, 1)};
    for (size_t i = 0; i < ROWS * MANY; i++) {
        t.scores[i] = roundf(20 * drawn(2000, i)) / 20; /* so there are ties */
        t.targets[i] = drawn(2001, i) > 0.6f;
    }
    return t;
}

/* ROC AUC and average precision of a label, by their definitions. */
static void define_ranking(const table *t, size_t label, double *auc, double *ap)
{
    double pairs = 0, right = 0, positives = 0;
    *ap = 0;
    for (size_t i = 0; i < ROWS; i++) {
        if (!t->targets[i * MANY + label]) continue;
        double reached = 0, found = 0;
        for (size_t k = 0; k < ROWS; k++) {
            float mine = t->scores[i * MANY + label], other = t->scores[k * MANY + label];
            if (other >= mine) {
                reached++;
                found += t->targets[k * MANY + label];
            }
            if (t->targets[k * MANY + label]) continue;
            pairs++;
            right += mine > other ? 1 : mine == other ? 0.5 : 0;
        }
        positives++;
        *ap += found / reached;
    }
    *auc = right / pairs;
    *ap /= positives;
}

static void *judge(void *argument)
{
    const table *t = argument;
    double columns[MANY][MLC_COLUMN_VALUES], weighed[MANY][MLC_COLUMN_VALUES], ones[ROWS];
    double *rows = room(ROWS * MLC_ROW_VALUES, sizeof *rows);
    for (size_t i = 0; i < ROWS; i++) ones[i] = 1;
    CHECK(!mlc_column_ranking(t->scores, t->targets, NULL, ROWS, MANY, columns[0], &error));
    CHECK(!mlc_column_ranking(t->scores, t->targets, ones, ROWS, MANY, weighed[0], &error));
    for (size_t l = 0; l < MANY; l++) {
        double auc, ap;
        define_ranking(t, l, &auc, &ap);
        CHECK(fabs(columns[l][MLC_COLUMN_AUC] - auc) < 1e-12);
        CHECK(fabs(columns[l][MLC_COLUMN_AP] - ap) < 1e-12);
        CHECK(fabs(weighed[l][MLC_COLUMN_AP] - ap) < 1e-12);
    }
    CHECK(!mlc_row_ranking(t->scores, t->targets, ROWS, MANY, rows, &error));
    free(rows);

    float cuts[CUTS], edges[MANY][2], start[MANY] = {0};
    int64_t counts[MANY][CUTS + 1][2], exact[CUTS + 1], found[MANY][MLC_CUT_COUNTS];
    for (size_t c = 0; c < CUTS; c++) cuts[c] = (float)c / 5 - 0.8f;
    CHECK(!mlc_threshold_counts(t->scores, t->targets, ROWS, MANY, cuts, CUTS, counts[0][0], exact,
                                &error));
    CHECK(!mlc_threshold_search(t->scores, t->targets, ROWS, MANY, start, 0, edges[0], found[0],
                                &error));
    for (size_t l = 0; l < MANY; l++) {
        int64_t predicted = 0, both = 0;
        for (size_t i = 0; i < ROWS; i++) {
            bool above = t->scores[i * MANY + l] > 0;
            predicted += above;
            both += above && t->targets[i * MANY + l];
        }
        CHECK(found[l][MLC_START_PREDICTED] == predicted && found[l][MLC_START_TP] == both);
        int64_t all = 0;
        for (size_t c = 0; c <= CUTS; c++) all += counts[l][c][0] + counts[l][c][1];
        CHECK(all == ROWS);
    }
    int64_t agree[3][MANY], histogram[MANY][256][2] = {{{0}}};
    CHECK(!mlc_label_counts(t->targets, t->targets, ROWS, MANY, agree[0], &error));
    mlc_rank_histogram(t->scores, t->targets, ROWS, MANY, 8, histogram[0][0]);
    for (size_t l = 0; l < MANY; l++) {
        int64_t positives = 0;
        for (size_t b = 0; b < 256; b++) positives += histogram[l][b][1];
        CHECK(agree[0][l] == positives && agree[1][l] == positives && agree[2][l] == positives);
    }
    return NULL;
}

/* --- photos ---------------------------------------------------------------------------------- */

enum { PHOTOS = 3, HIGH = 37, WIDE = 29 };

/* No change leaves every pixel its value; a turn by half a circle, the opposite one's. */
static void *augment(void *argument)
{
    const uint8_t *images = argument;
    const size_t pixels = HIGH * WIDE;
    const float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
    double h[PHOTOS][9] = {{1, 0, 0, 0, 1, 0, 0, 0, 1},
                           {-1, 0, 0, 0, -1, 0, 0, 0, 1},
                           {0.9, 0.2, 3, -0.1, 1.1, -5, 0.01, 0.02, 1}}; /* mostly outside */
    float lighting[PHOTOS][2] = {{0, 1}, {0, 1}, {0.5f, 1.2f}};
    float *out = room(PHOTOS * pixels * 3, sizeof *out);
    for (int border = 0; border < 3; border++) {
        mlc_augment job = {.images = images, .count = PHOTOS, .height = HIGH, .width = WIDE,
                           .homography = h[0], .border = border, .lighting = lighting[0],
                           .mean = mean, .std = std, .out = out,
                           .out_height = HIGH, .out_width = WIDE};
        mlc_augment_run(&job);
        for (size_t i = 0; i < pixels; i++)
            for (size_t c = 0; c < 3; c++) {
                float same = (float)images[3 * i + c] / 255;
                float other = (float)images[3 * (pixels + pixels - 1 - i) + c] / 255;
                CHECK(fabsf(out[3 * i + c] - same) < 1e-4f);
                CHECK(fabsf(out[3 * (pixels + i) + c] - other) < 1e-4f);
            }
    }
    free(out);
    return NULL;
}

int main(int count, char **arguments)
{
    size_t rounds = count > 1 ? strtoul(arguments[1], NULL, 10) : 3;
    size_t each[4] = {rounds, rounds, rounds, rounds};
    CHECK(!mlc_isa_choose(getenv("MLCLASSIFY_ISA"), &error));
    mlc_threads_set(3);
    run_side_by_side(use_pool, each, sizeof *each, 3);

    for (size_t r = 0; r < rounds; r++) {
        train_and_ask(false);
        train_and_ask(true);
    }
    mlc_threads_set(3);
    table t = new_table();
    uint8_t *images = room(PHOTOS * HIGH * WIDE, 3);
    for (size_t i = 0; i < PHOTOS * HIGH * WIDE * 3; i++)
        images[i] = (uint8_t)(128 + 120 * drawn(3000, i));
    for (size_t r = 0; r < rounds; r++) {
        run_side_by_side(judge, &t, 0, 3);
        run_side_by_side(augment, images, 0, 3);
    }
    free(images), free(t.scores), free(t.targets);
    puts("all holds");
    return 0;
}
