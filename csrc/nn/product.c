#include "product.h"

enum { BLOCK_PIXELS = MLC_PRODUCT_PIXELS, SEGMENT = 256, FEW_BLOCKS = 16 };

/* How a product is cut into tasks: blocks of pixels, against all panels or each against one. */
typedef struct {
    size_t pixels, block;  /* pixels in all, and of a task */
    size_t blocks, panels; /* how many blocks, and panels of a task */
    size_t tasks;
} product_cut;

typedef struct {
    const mlc_product *products;
    size_t count;
    product_cut cut[MLC_PRODUCTS];
} product_job;

size_t mlc_product_weights(size_t taps, size_t run, size_t columns)
{
    size_t panel = mlc_kernel->tile_columns;
    return taps * run * ((columns + panel - 1) / panel) * panel;
}

/* Addresses of pixels [first, first + count) of the grid, counted image by image, row by row. */
static void addresses(const mlc_product *p, size_t first, size_t count, const float **in,
                      float **out)
{
    size_t x = first % p->w, y = first / p->w % p->h, n = first / p->w / p->h;
    for (size_t i = 0; i < count; i++) {
        in[i] = p->in + n * p->in_steps.image + y * p->in_steps.row + x * p->in_steps.pixel;
        out[i] = p->out + n * p->out_steps.image + y * p->out_steps.row + x * p->out_steps.pixel;
        if (++x < p->w) continue;
        x = 0;
        if (++y < p->h) continue;
        y = 0;
        n++;
    }
}

/* Let the pixels come from the running worker's room, activated. */
static void activate(const mlc_product *p, size_t count, const float **in)
{
    float *to = p->room + mlc_worker() * BLOCK_PIXELS * p->run;
    for (size_t i = 0; i < count; i++, to += p->run) {
        mlc_kernel->activate(in[i], to, p->run, p->act);
        in[i] = to;
    }
}

/* Ask for the lines that a tile will write, while the one before it is computed. */
static void prefetch_out(float *const *out, size_t count, size_t columns)
{
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < columns; v += MLC_LANES) __builtin_prefetch(out[i] + v, 1);
}

static size_t block_count(const product_cut *cut, size_t first)
{
    return cut->pixels - first < cut->block ? cut->pixels - first : cut->block;
}

/* A block of pixels against every panel, so that the block's input stays in cache; or against some
 * of them. */
static void run_block(const mlc_product *p, const product_cut *cut, size_t task)
{
    size_t index = task % cut->blocks, from = task / cut->blocks * cut->panels;
    const float *in[BLOCK_PIXELS];
    float *out[BLOCK_PIXELS];
    size_t first = index * cut->block, rows = mlc_kernel->tile_rows,
           panel = mlc_kernel->tile_columns;
    size_t count = block_count(cut, first);
    addresses(p, first, count, in, out);
    if (p->act) activate(p, count, in);
    for (size_t i = 0; i < count; i++) out[i] += from * panel;
    const float *weights = p->weights + from * p->taps * p->run * panel;
    size_t all = p->columns,
           end = (from + cut->panels) * panel < all ? (from + cut->panels) * panel : all;
    for (size_t column = from * panel; column < end; column += panel) {
        size_t columns = p->columns - column < panel ? p->columns - column : panel;
        for (size_t i = 0; i < count; i += rows) {
            mlc_tile tile = {.in = in + i,
                             .out = out + i,
                             .rows = count - i < rows ? count - i : rows,
                             .columns = columns,
                             .offset = p->offset,
                             .taps = p->taps,
                             .run = p->run,
                             .weights = weights,
                             .start = p->start ? p->start + column : NULL,
                             .segment = SEGMENT,
                             .accumulate = p->accumulate};
            size_t next = i + tile.rows, left = count - next;
            if (left && column == from * panel) tile.ahead = (size_t)(in[next] - in[i]);
            prefetch_out(out + next, left < rows ? left : rows, columns);
            mlc_kernel->gemm_tile(&tile);
        }
        for (size_t i = 0; i < count; i++) out[i] += panel;
        weights += p->taps * p->run * panel;
    }
    if (p->finish && from == 0 && end == all) mlc_finish_chunk(p->finish, index, first, count);
}

/* One task: the products in turn, so that what reads the same pixels does so at about one time. */
static void product_task(void *context, size_t task)
{
    const product_job *job = context;
    size_t which = task % job->count, index = task / job->count;
    if (index < job->cut[which].tasks) run_block(&job->products[which], &job->cut[which], index);
}

/* A task after those of some panels each. */
static void finish_task(void *context, size_t index)
{
    const product_job *job = context;
    size_t first = index * job->cut->block;
    mlc_finish_chunk(job->products->finish, index, first, block_count(job->cut, first));
}

/* A multiple of every instruction set's register rows, so that moments are the same on all of them;
 * less where that leaves few blocks. */
static size_t block_pixels(size_t pixels)
{
    size_t block = BLOCK_PIXELS;
    while (block > BLOCK_PIXELS / 4 && pixels < 32 * block) block /= 2;
    return block;
}

size_t mlc_product_blocks(size_t pixels)
{
    size_t block = block_pixels(pixels);
    return (pixels + block - 1) / block;
}

static product_cut cut_product(const mlc_product *p)
{
    size_t pixels = p->n * p->h * p->w;
    size_t panels = (p->columns + mlc_kernel->tile_columns - 1) / mlc_kernel->tile_columns;
    product_cut cut = {.pixels = pixels, .block = block_pixels(pixels)};
    cut.blocks = mlc_product_blocks(pixels);
    cut.panels = cut.blocks < FEW_BLOCKS ? 1 : panels;
    cut.tasks = cut.blocks * (panels / cut.panels); /* 1, or each panel */
    return cut;
}

bool mlc_product_run(const mlc_product *products, size_t count)
{
    product_job job = {.products = products, .count = count};
    size_t most = 0, workers = products->act ? products->workers : SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        job.cut[i] = cut_product(&products[i]);
        if (job.cut[i].tasks > most) most = job.cut[i].tasks;
    }
    if (!mlc_parallel_limit(most * count, workers, product_task, &job)) return false;
    if (!products->finish) return true;
    size_t blocks = job.cut->blocks;
    if (job.cut->tasks > blocks && !mlc_parallel_for(blocks, finish_task, &job)) return false;
    mlc_finish_all(products->finish);
    return true;
}
