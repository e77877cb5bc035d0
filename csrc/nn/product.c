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

bool mlc_product_room(size_t run, size_t workers, size_t *bytes)
{
    return mlc_mul(BLOCK_PIXELS * sizeof(float), run, bytes) && mlc_mul(*bytes, workers, bytes);
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

/* The running worker's. */
static float *room_of(const mlc_product *p)
{
    return p->room + mlc_worker() * BLOCK_PIXELS * p->run;
}

/* Let the pixels come from the running worker's room, activated. */
static void activate(const mlc_product *p, size_t count, const float **in)
{
    float *to = room_of(p);
    for (size_t i = 0; i < count; i++, to += p->run) {
        mlc_kernel->activate(in[i], to, p->run, p->act);
        in[i] = to;
    }
}

/* The pixels in the running worker's room, one after another, activated and rounded. Numbers there
 * are half as large as those that they are made from, so one pixel more has its place at the end.
 */
static const uint16_t *round_pixels(const mlc_product *p, size_t count, const float *const *in)
{
    uint16_t *rounded = (uint16_t *)room_of(p);
    float *activated = room_of(p) + (BLOCK_PIXELS - 1) * p->run;
    for (size_t i = 0; i < count; i++) {
        if (p->act) mlc_kernel->activate(in[i], activated, p->run, p->act);
        mlc_kernel->narrow(p->act ? activated : in[i], rounded + i * p->run, p->run);
    }
    return rounded;
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

/* Where a block stands: its pixels, and its panel of columns. */
typedef struct {
    const float *in[BLOCK_PIXELS];
    const uint16_t *rounded;
    float *out[BLOCK_PIXELS]; /* at `column` */
    size_t count, column, columns;
    size_t weights; /* number of the panel's first one */
    bool first;     /* of the panels of the task */
} product_block;

static void multiply(const mlc_product *p, const product_block *b, size_t i, size_t rows)
{
    mlc_tile tile = {.in = b->in + i,
                     .out = b->out + i,
                     .rows = rows,
                     .columns = b->columns,
                     .offset = p->offset,
                     .taps = p->taps,
                     .run = p->run,
                     .weights = b->weights ? p->weights + b->weights : p->weights, /* or none */
                     .start = p->start ? p->start + b->column : NULL,
                     .segment = SEGMENT,
                     .accumulate = p->accumulate};
    if (b->first && i + rows < b->count) tile.ahead = (size_t)(b->in[i + rows] - b->in[i]);
    mlc_kernel->gemm_tile(&tile);
}

static void multiply_rounded(const mlc_product *p, const product_block *b, size_t i, size_t rows)
{
    mlc_dots dots = {.in = b->rounded + i * p->run,
                     .in_step = p->run,
                     .out = b->out + i,
                     .rows = rows,
                     .columns = b->columns,
                     .run = p->run,
                     .weights = p->rounded + b->weights,
                     .start = p->start ? p->start + b->column : NULL,
                     .segment = SEGMENT,
                     .accumulate = p->accumulate};
    mlc_kernel->gemm_dots(&dots);
}

/* The pixels of a block against one panel. */
static void run_panel(const mlc_product *p, const product_block *b)
{
    size_t most = mlc_kernel->tile_rows;
    for (size_t i = 0; i < b->count; i += most) {
        size_t rows = b->count - i < most ? b->count - i : most, left = b->count - i - rows;
        prefetch_out(b->out + i + rows, left < most ? left : most, b->columns);
        if (b->rounded)
            multiply_rounded(p, b, i, rows);
        else
            multiply(p, b, i, rows);
    }
}

/* A block of pixels against every panel, so that the block's input stays in cache; or against some
 * of them. */
static void run_block(const mlc_product *p, const product_cut *cut, size_t task)
{
    size_t index = task % cut->blocks, from = task / cut->blocks * cut->panels;
    size_t first = index * cut->block, panel = mlc_kernel->tile_columns, all = p->columns;
    size_t begin = from * panel, depth = p->taps * p->run;
    size_t end = begin + cut->panels * panel < all ? begin + cut->panels * panel : all;
    product_block b = {.count = block_count(cut, first), .column = begin};
    addresses(p, first, b.count, b.in, b.out);
    if (p->rounded)
        b.rounded = round_pixels(p, b.count, b.in);
    else if (p->act)
        activate(p, b.count, b.in);
    for (size_t i = 0; i < b.count; i++) b.out[i] += begin;
    for (; b.column < end; b.column += panel) {
        b.columns = all - b.column < panel ? all - b.column : panel;
        b.weights = b.column * depth;
        b.first = b.column == begin;
        run_panel(p, &b);
        for (size_t i = 0; i < b.count; i++) b.out[i] += panel;
    }
    if (p->finish && begin == 0 && end == all) mlc_finish_chunk(p->finish, index, first, b.count);
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
    size_t most = 0, workers = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (products[i].room) workers = products[i].workers;
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
