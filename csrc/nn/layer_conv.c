/* Convolution and, as its 1 x 1 case, the linear layer of every pixel.
 *
 * With input x (N, H, W, C), weights w (K, C, R, R), a bias b or none, stride s and padding p,
 *     y(n, i, j)[k] = b[k] + sum over r, q, c of x(n, i s + r - p, j s + q - p)[c] w[k][c][r][q].
 *
 * forward        One product. The halo of x holds the padding, and a filter row of R pixels times C
 *                channels is contiguous in NHWC, so a tap is a whole filter row: R taps of R C.
 * backward data  dx(n, u, v) gathers dy at i = (u + p - r) / s where that is whole. Pixels u of one
 *                remainder modulo s use the same r: s x s phases, each a dense product of its own
 *                grid with its own taps and no multiplication by zero.
 * backward       dw[k][c][r][q] = sum over n, i, j of x(...)[c] dy(n, i, j)[k]: outer products
 * weights        summed over pixels. Images are cut into a fixed number of chunks with partial sums
 *                of their own, added in order: enough tasks for many threads, the same bits for
 *                any. */
#include "bias.h"
#include "phases.h"
#include "product.h"
#include "window.h"
#include "winograd.h"

enum {
    OUTER_PIXELS = 512,       /* of a pass of gemm_outer: its operands stay in the L2 cache */
    PARTIAL_FLOATS = 4 << 20, /* partial sums of dw in all */
    MAX_CHUNKS = 16,
    TURN = 64,          /* numbers of a filter that are turned at a time */
    LEAST_ROUNDED = 64, /* channels, of input and output, for which rounding a product pays */
};

/* --- shapes ---------------------------------------------------------------------------------- */

static mlc_status conv_declare(mlc_layer *layer, mlc_error *error)
{
    mlc_options *o = &layer->options;
    if (o->kernel < 1 || o->kernel > MAX_KERNEL || o->stride < 1 || o->stride > o->kernel + 7 ||
        o->padding >= o->kernel || o->out < 1)
        return mlc_fail(error, MLC_VALUE,
                        "Net: layer %zu (conv %s) must have out >= 1, kernel 1 to %d, stride 1 to "
                        "kernel + 7 and padding < kernel, got out %zu, kernel %zu, stride %zu, "
                        "padding %zu",
                        layer->index, layer->name, MAX_KERNEL, o->out, o->kernel, o->stride,
                        o->padding);
    layer->out_channels = o->out;
    mlc_param *w = layer->weight;
    w->ndim = 4;
    w->dims[0] = o->out, w->dims[1] = layer->in_channels, w->dims[2] = w->dims[3] = o->kernel;
    mlc_bias_declare(layer);
    return MLC_OK;
}

static size_t conv_chunks(const mlc_layer *layer, const mlc_tensor *in, const mlc_tensor *out)
{
    size_t floats = layer->options.kernel * layer->options.kernel * in->stride * out->stride;
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a kernel has pixels */
    size_t chunks = PARTIAL_FLOATS / floats;
    if (chunks > MAX_CHUNKS) chunks = MAX_CHUNKS;
    if (chunks > in->n) chunks = in->n;
    return chunks < 1 ? 1 : chunks;
}

static bool uses_winograd(const mlc_layer *layer, const mlc_tensor *in, const mlc_tensor *out,
                          bool train)
{
    const mlc_options *o = &layer->options;
    return !layer->exact && !layer->bias && o->kernel == 3 && o->padding == 1 &&
           mlc_winograd_pays(in, out, o->stride, train);
}

/* What both ways of running a job need to know of it. */
static mlc_winograd winograd_job(const mlc_layer *layer, const mlc_tensor *in,
                                 const mlc_tensor *out, size_t workers)
{
    return (mlc_winograd){
        .stride = layer->options.stride, .in = in, .out = out, .workers = workers};
}

static bool winograd_plan(const mlc_layer *layer, const mlc_tensor *in, const mlc_tensor *out,
                          mlc_needs *needs)
{
    size_t data, weights, workers = (size_t)mlc_threads_get();
    mlc_winograd forward = winograd_job(layer, in, out, workers);
    mlc_winograd back = winograd_job(layer, out, in, workers);
    mlc_winograd_weights gradient = {
        .stride = layer->options.stride, .in = in, .dout = out, .workers = workers};
    back.turned = true;
    if (!mlc_winograd_scratch(&forward, &needs->scratch) || !mlc_winograd_scratch(&back, &data) ||
        !mlc_winograd_weights_scratch(&gradient, &weights))
        return false;
    needs->scratch_back = data > weights ? data : weights;
    needs->keeps_input = true;
    needs->predicts_taps = mlc_winograd_packs(out);
    needs->workers = workers;
    return true;
}

/* Products of whole maps by 1 x 1 kernels: of others, Winograd's take fewer of float32. */
static bool can_round(const mlc_layer *layer, const mlc_tensor *in, const mlc_tensor *out)
{
    return layer->options.kernel == 1 && !layer->exact && out->h * out->w > 1 &&
           in->stride >= LEAST_ROUNDED && out->stride >= LEAST_ROUNDED;
}

/* Rows of a pass of gemm_outer. */
static size_t outer_rows(const mlc_tensor *dout) { return OUTER_PIXELS / dout->w + 1; }

static size_t conv_blocks(const mlc_tensor *out)
{
    return mlc_product_blocks(out->n * out->h * out->w);
}

/* Where the moments of an epilogue end, in scratch. */
static bool moments_end(const mlc_tensor *out, size_t *bytes)
{
    return mlc_moments_bytes(conv_blocks(out), out->stride, bytes) &&
           mlc_add(*bytes, MLC_ALIGN - *bytes % MLC_ALIGN, bytes);
}

/* Bytes of scratch for moments, and then for the room of a product. */
static bool room_end(const mlc_tensor *in, const mlc_tensor *out, size_t workers, size_t *bytes)
{
    size_t room;
    return moments_end(out, bytes) && mlc_product_room(in->stride, workers, &room) &&
           mlc_add(*bytes, room, bytes);
}

static bool plan_rounding(const mlc_tensor *in, const mlc_tensor *out, mlc_needs *needs)
{
    size_t back;
    needs->rounds = true;
    needs->workers = (size_t)mlc_threads_get();
    if (!room_end(in, out, needs->workers, &needs->scratch) ||
        !mlc_product_room(out->stride, needs->workers, &back))
        return false;
    if (back > needs->scratch_back) needs->scratch_back = back;
    return true;
}

static bool conv_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                      mlc_needs *needs)
{
    const mlc_options *o = &layer->options;
    if (uses_winograd(layer, in[0], out, true)) return winograd_plan(layer, in[0], out, needs);
    size_t high = reach(o, in[0]->h, out->h), wide = reach(o, in[0]->w, out->w), bytes;
    needs->packs = true;
    needs->halo_in = o->padding;
    needs->halo_dy = high > wide ? high : wide;
    needs->keeps_input = true;
    if (!layer->inputs[0] && !layer->bias) needs->dy_rows = outer_rows(out); /* only dw reads dy */
    if (!mlc_mul(o->kernel * o->kernel, in[0]->stride, &bytes) ||
        !mlc_mul(bytes, out->stride, &bytes) ||
        !mlc_mul(bytes, sizeof(float) * conv_chunks(layer, in[0], out), &bytes))
        return false;
    needs->scratch_back = bytes;
    if (layer->bias && !mlc_bias_scratch(out, &bytes)) return false;
    if (bytes > needs->scratch_back) needs->scratch_back = bytes;
    if (!mlc_moments_bytes(conv_blocks(out), out->stride, &needs->scratch)) return false;
    if (can_round(layer, in[0], out)) return plan_rounding(in[0], out, needs);
    if (!uses_winograd(layer, in[0], out, false)) return true;
    needs->predicts_taps = mlc_winograd_packs(out);
    needs->workers = (size_t)mlc_threads_get();
    mlc_winograd job = winograd_job(layer, in[0], out, needs->workers);
    if (!mlc_winograd_scratch(&job, &bytes)) return false;
    if (bytes > needs->scratch) needs->scratch = bytes;
    return true;
}

/* --- packed weights -------------------------------------------------------------------------- */

static size_t conv_packed_floats(const mlc_layer *layer, mlc_form form)
{
    size_t k = layer->options.kernel;
    if (form == MLC_TAPS) return k * k * layer->in_stride * mlc_padded(layer->out_channels);
    if (form == MLC_FORWARD_BF16) return conv_packed_floats(layer, MLC_FORWARD) / 2;
    if (form == MLC_BACK_BF16) return conv_packed_floats(layer, MLC_BACK) / 2;
    if (form == MLC_FORWARD)
        return mlc_product_weights(k, k * layer->in_stride, mlc_padded(layer->out_channels));
    return mlc_product_weights(k * k, mlc_padded(layer->out_channels), layer->in_stride);
}

static inline float weight_at(const mlc_layer *layer, size_t k, size_t c, size_t r, size_t q)
{
    size_t kernel = layer->options.kernel;
    if (k >= layer->out_channels || c >= layer->in_channels) return 0.0f;
    return layer->weight->value[((k * layer->in_channels + c) * kernel + r) * kernel + q];
}

/* [c][column] of tap (r, q) for one panel of output channels; by a few c at a time of every
 * column, for those lie side by side, and the filters of a panel evict each other. */
static void pack_tap(const mlc_layer *layer, size_t panel, size_t r, size_t q, float *to)
{
    size_t columns = mlc_kernel->tile_columns, channels = layer->in_stride;
    for (size_t from = 0; from < channels; from += MLC_LANES)
        for (size_t v = 0; v < columns; v++)
            for (size_t c = from; c < from + MLC_LANES && c < channels; c++)
                to[c * columns + v] = weight_at(layer, panel * columns + v, c, r, q);
}

/* [panel][r][q][c][column] for one panel of output channels. */
static void pack_panel(void *context, size_t panel)
{
    const mlc_layer *layer = context;
    size_t kernel = layer->options.kernel, tap = layer->in_stride * mlc_kernel->tile_columns;
    float *to = layer->packed[MLC_FORWARD] + panel * kernel * kernel * tap;
    for (size_t r = 0; r < kernel; r++)
        for (size_t q = 0; q < kernel; q++, to += tap) pack_tap(layer, panel, r, q, to);
}

/* For one panel of input channels and every phase, [tap][k][column]; the phases' taps are disjoint
 * and together all kernel x kernel of them. Phase ph starts at `start` taps of all panels. */
static void pack_phase_panel(const mlc_layer *layer, size_t a, size_t b, size_t start, size_t panel)
{
    size_t lines[MAX_KERNEL], columns_of[MAX_KERNEL], width = mlc_kernel->tile_columns;
    ptrdiff_t unused[MAX_KERNEL];
    size_t high = phase_taps(&layer->options, a, lines, unused);
    size_t wide = phase_taps(&layer->options, b, columns_of, unused);
    size_t depth = mlc_padded(layer->out_channels);
    float *to = layer->packed[MLC_BACK] + mlc_product_weights(start, depth, layer->in_stride) +
                panel * high * wide * depth * width;
    for (size_t i = 0; i < high; i++)
        for (size_t j = 0; j < wide; j++)
            for (size_t k = 0; k < depth; k++)
                for (size_t v = 0; v < width; v++)
                    *to++ = weight_at(layer, k, panel * width + v, lines[i], columns_of[j]);
}

static void pack_back_panel(void *context, size_t panel)
{
    const mlc_layer *layer = context;
    for (size_t a = 0; a < layer->options.stride; a++)
        for (size_t b = 0; b < layer->options.stride; b++)
            pack_phase_panel(layer, a, b, taps_before(&layer->options, a, b), panel);
}

/* [step / 2][column][2] of a 1 x 1 kernel for one panel of columns, rounded. `back`: steps are
 * output channels and columns input channels; else the other way round. */
static void pack_rounded(const mlc_layer *layer, bool back, size_t panel)
{
    enum { MOST_COLUMNS = 64 };
    float steps[MLC_LANES * MOST_COLUMNS];
    size_t width = mlc_kernel->tile_columns;
    size_t depth = back ? mlc_padded(layer->out_channels) : layer->in_stride;
    float *packed = layer->packed[back ? MLC_BACK_BF16 : MLC_FORWARD_BF16];
    uint16_t *to = (uint16_t *)packed + panel * depth * width;
    for (size_t from = 0; from < depth; from += MLC_LANES, to += MLC_LANES * width) {
        for (size_t v = 0; v < width; v++)
            for (size_t i = 0; i < MLC_LANES; i++) {
                size_t step = from + i, column = panel * width + v;
                steps[(i / 2 * width + v) * 2 + i % 2] = back
                                                             ? weight_at(layer, step, column, 0, 0)
                                                             : weight_at(layer, column, step, 0, 0);
            }
        mlc_kernel->narrow(steps, to, MLC_LANES * width);
    }
}

static void pack_rounded_panel(void *context, size_t panel) { pack_rounded(context, false, panel); }

static void pack_rounded_back_panel(void *context, size_t panel)
{
    pack_rounded(context, true, panel);
}

static bool conv_pack(mlc_layer *layer, mlc_form form)
{
    static void (*const pack[MLC_FORMS])(void *, size_t) = {
        [MLC_FORWARD] = pack_panel,
        [MLC_BACK] = pack_back_panel,
        [MLC_FORWARD_BF16] = pack_rounded_panel,
        [MLC_BACK_BF16] = pack_rounded_back_panel,
    };
    size_t width = mlc_kernel->tile_columns, outs = mlc_padded(layer->out_channels);
    bool back = form == MLC_BACK || form == MLC_BACK_BF16;
    size_t columns = back ? layer->in_stride : outs;
    if (form == MLC_TAPS)
        return mlc_winograd_pack(layer->weight, layer->in_stride, outs, layer->packed[form]);
    return mlc_parallel_for((columns + width - 1) / width, pack[form], layer);
}

/* Give a product its weights and what comes before it of a tap, and `room` to do that in. */
static void set_weights(mlc_product *product, const mlc_run *run, mlc_form plain, mlc_form rounded,
                        mlc_activation act, void *room)
{
    const mlc_layer *layer = run->layer;
    product->act = act;
    if (run->rounds)
        product->rounded = (const uint16_t *)layer->packed[rounded];
    else
        product->weights = layer->packed[plain];
    if (act || run->rounds) product->room = room, product->workers = run->workers;
}

/* --- forward --------------------------------------------------------------------------------- */

static mlc_steps steps_of(const mlc_tensor *t, size_t stride)
{
    return (mlc_steps){tensor_image(t), stride * tensor_row(t), stride * t->stride};
}

static bool direct_forward(const mlc_run *run)
{
    const mlc_options *o = &run->layer->options;
    const mlc_tensor *in = run->in[0], *out = run->out;
    ptrdiff_t offset[MAX_KERNEL];
    for (size_t r = 0; r < o->kernel; r++) offset[r] = (ptrdiff_t)(r * tensor_row(in));
    size_t corner = (in->halo - o->padding) * (tensor_row(in) + in->stride);
    mlc_finish finish = {
        .epilogue = run->epilogue,
        .moments = mlc_moments_in(run->scratch, conv_blocks(out), out->stride),
        .out = out,
        .y = run->y,
    };
    mlc_product product = {
        .n = out->n,
        .h = out->h,
        .w = out->w,
        .in = run->x[0] + corner,
        .in_steps = steps_of(in, o->stride),
        .out = run->y + tensor_at(out, 0, 0, 0),
        .out_steps = steps_of(out, 1),
        .offset = offset,
        .taps = o->kernel,
        .run = o->kernel * in->stride,
        .columns = out->stride,
        .start = run->layer->bias ? run->layer->bias->value : NULL,
        .finish = run->epilogue ? &finish : NULL,
    };
    size_t moments;
    moments_end(out, &moments);
    set_weights(&product, run, MLC_FORWARD, MLC_FORWARD_BF16,
                run->prologue ? run->prologue->act : MLC_IDENTITY, (char *)run->scratch + moments);
    return mlc_product_run(&product, 1);
}

static void activate_row(void *context, size_t row)
{
    const mlc_run *run = context;
    float *y = run->y + tensor_row_at(run->out, row);
    mlc_activate(run->epilogue->act, run->out, y, y, run->out->w);
}

/* Winograd's kernels know a ReLU; other activations come in a pass of their own. */
static bool winograd_forward(const mlc_run *run)
{
    mlc_winograd job = winograd_job(run->layer, run->in[0], run->out, run->workers);
    job.x = run->x[0], job.y = run->y;
    job.weight = run->layer->weight;
    if (!run->train && mlc_winograd_packs(run->out)) job.taps = run->layer->packed[MLC_TAPS];
    job.epilogue = run->epilogue;
    job.scratch = run->scratch;
    if (!mlc_winograd_run(&job)) return false;
    const mlc_epilogue *e = run->epilogue;
    if (!e || e->act == MLC_IDENTITY || (e->act == MLC_RELU && e->scale)) return true;
    return mlc_parallel_for(tensor_rows(run->out), activate_row, (void *)run);
}

static bool conv_forward(const mlc_run *run)
{
    bool winograd = uses_winograd(run->layer, run->in[0], run->out, run->train);
    return winograd ? winograd_forward(run) : direct_forward(run);
}

/* --- backward: data -------------------------------------------------------------------------- */

/* The pixels of phase (a, b); where their dy is goes to `offset`. */
static mlc_product phase_product(const mlc_run *run, size_t a, size_t b,
                                 ptrdiff_t offset[MAX_KERNEL * MAX_KERNEL])
{
    const mlc_options *o = &run->layer->options;
    const mlc_tensor *in = run->din[0], *out = run->dout;
    size_t line[MAX_KERNEL], high, wide, s = o->stride;
    ptrdiff_t down[MAX_KERNEL], right[MAX_KERNEL];
    high = phase_taps(o, a, line, down);
    wide = phase_taps(o, b, line, right);
    for (size_t i = 0; i < high; i++)
        for (size_t j = 0; j < wide; j++)
            offset[i * wide + j] =
                down[i] * (ptrdiff_t)tensor_row(out) + right[j] * (ptrdiff_t)out->stride;
    mlc_product product = {
        .n = in->n,
        .h = phase_pixels(in->h, a, s),
        .w = phase_pixels(in->w, b, s),
        .in = run->dy + tensor_at(out, 0, 0, 0),
        .in_steps = steps_of(out, 1),
        .out = run->dx[0] + tensor_at(in, 0, a, b),
        .out_steps = steps_of(in, s),
        .offset = offset,
        .taps = high * wide,
        .run = out->stride,
        .columns = in->stride,
        .accumulate = run->accumulate[0],
    };
    if (!product.taps) return product; /* which writes zeros */
    set_weights(&product, run, MLC_BACK, MLC_BACK_BF16, MLC_IDENTITY, run->scratch);
    if (product.weights)
        product.weights += mlc_product_weights(taps_before(o, a, b), out->stride, in->stride);
    return product;
}

static bool backward_data(const mlc_run *run)
{
    mlc_product products[MLC_PRODUCTS];
    ptrdiff_t offset[MLC_PRODUCTS][MAX_KERNEL * MAX_KERNEL];
    mlc_epilogue slope = {.slope_at = run->before, .like = run->in[0], .act = run->act};
    mlc_finish finish = {.epilogue = &slope, .out = run->din[0], .y = run->dx[0]};
    size_t s = run->layer->options.stride, count = 0;
    for (size_t phase = 0; phase < s * s; phase++) {
        mlc_product p = phase_product(run, phase / s, phase % s, offset[count]);
        if (run->before) p.finish = &finish; /* of the only phase there is */
        if (p.h && p.w && (p.taps || !p.accumulate)) products[count++] = p;
        if (count < MLC_PRODUCTS && phase + 1 < s * s) continue;
        if (count && !mlc_product_run(products, count)) return false;
        count = 0;
    }
    return true;
}

/* --- backward: weights ----------------------------------------------------------------------- */

typedef struct {
    const mlc_run *run;
    size_t chunks, panels, depth; /* depth: floats of a filter row, kernel x input stride */
} weights_job;

/* Partial sums [chunk][r][depth][k]. */
static float *partial(const weights_job *job, size_t chunk, size_t r)
{
    size_t row = job->depth * job->run->dout->stride;
    return (float *)job->run->scratch + (chunk * job->run->layer->options.kernel + r) * row;
}

/* What `count` rows of dy from row `from` on, whose addresses are in dy, add to the chunk's sums
 * for filter row r and the panel of output channels at `column`; its first rows write them. */
static void add_outer(const weights_job *job, size_t chunk, size_t r, size_t column, size_t from,
                      size_t count, const float *const *dy, bool first)
{
    const mlc_run *run = job->run;
    const mlc_options *o = &run->layer->options;
    const mlc_tensor *in = run->in[0], *dout = run->dout;
    size_t rows = mlc_kernel->tile_rows, width = mlc_kernel->tile_columns;
    const float *a[OUTER_PIXELS + 1], *b[OUTER_PIXELS + 1];
    for (size_t i = 0; i < count; i++) {
        size_t n = (from + i) / dout->h, y = (from + i) % dout->h;
        a[i] = run->x[0] + n * tensor_image(in) + (in->halo - o->padding) * in->stride +
               (y * o->stride + r + in->halo - o->padding) * tensor_row(in);
        b[i] = dy[i] + column;
    }
    for (size_t k = 0; k < job->depth; k += rows) {
        const float *at[OUTER_PIXELS + 1];
        for (size_t i = 0; i < count; i++) at[i] = a[i] + k;
        mlc_outer outer = {
            .a = at,
            .b = b,
            .segments = count,
            .pixels = dout->w,
            .a_step = o->stride * in->stride,
            .b_step = dout->stride,
            .rows = job->depth - k < rows ? job->depth - k : rows,
            .columns = dout->stride - column < width ? dout->stride - column : width,
            .out = partial(job, chunk, r) + k * dout->stride + column,
            .out_step = dout->stride,
            .accumulate = !first,
        };
        mlc_kernel->gemm_outer(&outer);
    }
}

/* The chunk's sums for filter rows [r, r_end) and panels [panel, panel_end). */
static void add_chunk(const weights_job *job, size_t chunk, size_t r, size_t r_end, size_t panel,
                      size_t panel_end)
{
    const mlc_run *run = job->run;
    const mlc_tensor *dout = run->dout;
    size_t first = chunk * run->in[0]->n / job->chunks * dout->h;
    size_t last = (chunk + 1) * run->in[0]->n / job->chunks * dout->h;
    size_t block = outer_rows(dout);
    float *made = mlc_rows_at(run, block);
    const float *dy[OUTER_PIXELS + 1];
    for (size_t from = first; from < last; from += block) {
        size_t count = last - from < block ? last - from : block;
        for (size_t i = 0; i < count; i++)
            dy[i] = mlc_dy_row(run, from + i, made ? made + i * dout->w * dout->stride : NULL);
        for (size_t p = panel; p < panel_end; p++)
            for (size_t q = r; q < r_end; q++)
                add_outer(job, chunk, q, p * mlc_kernel->tile_columns, from, count, dy,
                          from == first);
    }
}

/* One task: chunk, filter row and panel of output channels. */
static void weights_task(void *context, size_t index)
{
    const weights_job *job = context;
    size_t kernel = job->run->layer->options.kernel;
    size_t panel = index % job->panels, r = index / job->panels % kernel;
    add_chunk(job, index / job->panels / kernel, r, r + 1, panel, panel + 1);
}

/* One task: a chunk, where making a row of dy costs more than reading it. */
static void weights_by_rows_task(void *context, size_t chunk)
{
    const weights_job *job = context;
    add_chunk(job, chunk, 0, job->run->layer->options.kernel, 0, job->panels);
}

/* The chunks' sums for MLC_LANES output channels from k0 on, at number j of a filter (C, R, R). */
static void add_chunks(const weights_job *job, size_t k0, size_t j, float out[MLC_LANES])
{
    const mlc_run *run = job->run;
    size_t kernel = run->layer->options.kernel;
    size_t c = j / (kernel * kernel), r = j / kernel % kernel, q = j % kernel;
    size_t at = (q * run->in[0]->stride + c) * run->dout->stride + k0;
    float sum[MLC_LANES] = {0};
    for (size_t chunk = 0; chunk < job->chunks; chunk++) {
        const float *from = partial(job, chunk, r) + at;
        for (int l = 0; l < MLC_LANES; l++) sum[l] += from[l];
    }
    memcpy(out, sum, sizeof sum);
}

/* Add up the chunks of MLC_LANES output channels and turn them to (K, C, R, R), by blocks that fit
 * in the L1 cache: written number by number, sixteen filters evict each other. */
static void reduce_task(void *context, size_t index)
{
    const weights_job *job = context;
    const mlc_run *run = job->run;
    const mlc_layer *layer = run->layer;
    size_t filter = layer->in_channels * layer->options.kernel * layer->options.kernel;
    size_t k0 = index * MLC_LANES, left = layer->out_channels - k0;
    size_t outs = left < MLC_LANES ? left : MLC_LANES;
    float sum[TURN][MLC_LANES];
    for (size_t from = 0; from < filter; from += TURN) {
        size_t count = filter - from < TURN ? filter - from : TURN;
        for (size_t j = 0; j < count; j++) add_chunks(job, k0, from + j, sum[j]);
        for (size_t l = 0; l < outs; l++) {
            float *to = layer->weight->grad + (k0 + l) * filter + from;
            for (size_t j = 0; j < count; j++)
                to[j] = run->accumulate_params ? to[j] + sum[j][l] : sum[j][l];
        }
    }
}

static bool sum_chunks(weights_job *job)
{
    const mlc_run *run = job->run;
    if (run->maker) return mlc_parallel_limit(job->chunks, run->workers, weights_by_rows_task, job);
    return mlc_parallel_for(job->chunks * run->layer->options.kernel * job->panels, weights_task,
                            job);
}

static bool backward_weights(const mlc_run *run)
{
    weights_job job = {.run = run, .chunks = conv_chunks(run->layer, run->in[0], run->out)};
    size_t width = mlc_kernel->tile_columns;
    job.panels = (run->dout->stride + width - 1) / width;
    job.depth = run->layer->options.kernel * run->in[0]->stride;
    return sum_chunks(&job) &&
           mlc_parallel_for(mlc_padded(run->layer->out_channels) / MLC_LANES, reduce_task, &job);
}

static bool winograd_weights(const mlc_run *run)
{
    mlc_winograd_weights job = {.stride = run->layer->options.stride,
                                .in = run->in[0],
                                .dout = run->dout,
                                .x = run->x[0],
                                .dy = run->dy,
                                .dweight = run->layer->weight->grad,
                                .accumulate = run->accumulate_params,
                                .scratch = run->scratch,
                                .workers = run->workers};
    return mlc_winograd_weights_run(&job);
}

static bool winograd_data(const mlc_run *run)
{
    mlc_winograd job = winograd_job(run->layer, run->dout, run->din[0], run->workers);
    job.x = run->dy, job.y = run->dx[0];
    job.weight = run->layer->weight;
    job.turned = true;
    job.accumulate = run->accumulate[0];
    job.scratch = run->scratch;
    return mlc_winograd_run(&job);
}

static bool conv_backward(const mlc_run *run)
{
    bool winograd = uses_winograd(run->layer, run->in[0], run->out, true);
    if (!mlc_bias_backward(run)) return false;
    if (run->layer->weight->trainable &&
        !(winograd ? winograd_weights(run) : backward_weights(run)))
        return false;
    return !run->dx[0] || (winograd ? winograd_data(run) : backward_data(run));
}

const mlc_layer_class mlc_layer_conv = {
    .kind = "conv",
    .min_inputs = 1,
    .max_inputs = 1,
    .weight = true,
    .any_stride = true,
    .epilogue = true,
    .declare = conv_declare,
    .shape = mlc_window_shape,
    .plan = conv_plan,
    .forward = conv_forward,
    .backward = conv_backward,
    .packed_floats = conv_packed_floats,
    .pack = conv_pack,
};

/* --- linear ---------------------------------------------------------------------------------- */

static mlc_status linear_declare(mlc_layer *layer, mlc_error *error)
{
    bool as_conv = layer->options.kernel == 1; /* the dims that a 1 x 1 convolution has */
    layer->options.kernel = layer->options.stride = 1;
    layer->options.padding = 0;
    if (layer->options.out < 1)
        return mlc_fail(error, MLC_VALUE, "Net: layer %zu (linear %s) must have out >= 1, got 0",
                        layer->index, layer->name);
    layer->out_channels = layer->options.out;
    layer->weight->ndim = as_conv ? 4 : 2;
    layer->weight->dims[0] = layer->out_channels, layer->weight->dims[1] = layer->in_channels;
    layer->weight->dims[2] = layer->weight->dims[3] = 1;
    mlc_bias_declare(layer);
    return MLC_OK;
}

static bool linear_plan(const mlc_layer *layer, const mlc_tensor *const *in, const mlc_tensor *out,
                        mlc_needs *needs)
{
    needs->workers = (size_t)mlc_threads_get();
    return conv_plan(layer, in, out, needs) &&
           room_end(in[0], out, needs->workers, &needs->scratch);
}

const mlc_layer_class mlc_layer_linear = {
    .kind = "linear",
    .min_inputs = 1,
    .max_inputs = 1,
    .weight = true,
    .epilogue = true,
    .goes_through = true,
    .any_stride = true,
    .declare = linear_declare,
    .shape = mlc_window_shape,
    .plan = linear_plan,
    .forward = conv_forward,
    .backward = conv_backward,
    .packed_floats = conv_packed_floats,
    .pack = conv_pack,
};
