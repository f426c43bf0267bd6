/* Segments cut into tiles of rows: the unit of work of attention and of the short convolution. */
#include "kernels/cpu.h"

int32_t sluice_cpu_tiles(const sluice_segment *segments, int32_t n_segments, int32_t max,
                         sluice_cpu_tile *tiles)
{
    int32_t n = 0;
    for (int32_t s = 0; s < n_segments; s++) {
        for (int32_t begin = 0; begin < segments[s].count; begin += max) {
            const int32_t left = segments[s].count - begin;
            tiles[n++] = (sluice_cpu_tile){s, begin, left < max ? left : max};
        }
    }
    return n;
}
