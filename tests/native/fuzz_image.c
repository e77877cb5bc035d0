/* libFuzzer's way to image/augment.h: batches, maps and borders as the binding lets them pass. */
#include "fuzz.h"

#include "../../csrc/image/augment.h"

static uint64_t run(input in)
{
    static const uint16_t sides[] = {8, 1, 2, 3, 5, 16, 17, 33, 130, 1000};
    mlc_augment job = {.count = below(&in, 4), .border = (int)below(&in, MLC_ZEROS + 1)};
    unsigned flags = byte_of(&in);
    job.height = ONE_OF(&in, sides), job.width = ONE_OF(&in, sides);
    job.out_height = job.height, job.out_width = job.width;
    job.nearest = flags & 1, job.edges = flags & 2;
    if (flags & 4) { /* only then may the sides be others */
        job.homography = doubles_of(&in, job.count * 9);
        job.out_height = below(&in, 40), job.out_width = below(&in, 300);
    } else if (flags & 128) {
        job.height = job.out_height = 0;
    }
    if (flags & 8) job.lighting = floats_of(&in, job.count * 2);
    if (flags & 16) job.tint = floats_of(&in, job.count * 12);
    if (flags & 32) job.turn = floats_of(&in, job.count);
    job.mean = floats_of(&in, 3), job.std = floats_of(&in, 3);
    job.images = bytes_of(&in, job.count * job.height * job.width * 3);
    size_t written = job.count * job.out_height * job.out_width * 3;
    job.out = room(written, sizeof *job.out);

    mlc_augment_run(&job);
    uint64_t sum = digest(0, job.out, written * sizeof *job.out);
    free((void *)job.homography), free((void *)job.lighting), free((void *)job.tint);
    free((void *)job.turn), free((void *)job.mean), free((void *)job.std);
    free((void *)job.images), free(job.out);
    return sum;
}
