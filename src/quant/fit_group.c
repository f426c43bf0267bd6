/* See fit_group.h. From a few starts, each a grid that leaves out some of the ends, codes and grid
 * are found in turns. Sums are taken in eight lanes in a fixed order. */
#include "quant/fit_group.h"

#include <math.h>

#include "quant/quant.h"

#define LANES 8
#define TURNS 2

/* What a start leaves out of the range, below and above. The lopsided ones find something better
 * with few codes only. */
#define STARTS_EVEN 4
static const float starts[][2] = {{0, 0},         {0.05f, 0.05f}, {0.1f, 0.1f},
                                  {0.18f, 0.18f}, {0.28f, 0.28f}, {0.3f, 0},
                                  {0, 0.3f},      {0.15f, 0},     {0, 0.15f}};

float sluice_fit_stored(sluice_weight_format format, float value)
{
    float bytes; /* room for any kind */
    sluice_plain_store(format.scale, &bytes, 0, value);
    return sluice_plain_load(format.scale, &bytes, 0);
}

/* Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even, in vectors too. */
static inline float nearest_code(float x, float bias, float inverse, float codes_max)
{
    float code = (x - bias) * inverse;
    code = code > 0.0f ? code : 0.0f;
    code = code < codes_max ? code : codes_max;
    return (code + 12582912.0f) - 12582912.0f;
}

static float sum_lanes(const float *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
           ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

/* The grid of least error for the codes that this one gives. */
static sluice_fit_grid refit(int32_t group, float codes_max, const float *x, const float *weight,
                             sluice_fit_grid grid)
{
    float w[LANES] = {0}, wq[LANES] = {0}, wqq[LANES] = {0}, wx[LANES] = {0}, wxq[LANES] = {0};
    float inverse = 1.0f / grid.scale;
    for (int32_t i = 0; i < group; i += LANES)
        for (int32_t l = 0; l < LANES; l++) {
            float code = nearest_code(x[i + l], grid.bias, inverse, codes_max);
            float each = weight[i + l];
            w[l] += each;
            wq[l] += each * code;
            wqq[l] += each * code * code;
            wx[l] += each * x[i + l];
            wxq[l] += each * x[i + l] * code;
        }
    double s0 = (double)sum_lanes(w), s1 = (double)sum_lanes(wq), s2 = (double)sum_lanes(wqq);
    double t0 = (double)sum_lanes(wx), t1 = (double)sum_lanes(wxq);
    double determinant = s0 * s2 - s1 * s1;
    if (!(determinant > 1e-6 * s0 * s2)) return grid;
    float scale = (float)((s0 * t1 - s1 * t0) / determinant);
    if (!isfinite(scale) || !(fabsf(scale) > 1e-7f)) return grid;
    return (sluice_fit_grid){scale, (float)((t0 - (s0 * t1 - s1 * t0) / determinant * s1) / s0)};
}

static float error_of(int32_t group, float codes_max, const float *x, const float *weight,
                      sluice_fit_grid grid)
{
    float sum[LANES] = {0}, inverse = 1.0f / grid.scale;
    for (int32_t i = 0; i < group; i += LANES)
        for (int32_t l = 0; l < LANES; l++) {
            float code = nearest_code(x[i + l], grid.bias, inverse, codes_max);
            float off = x[i + l] - (grid.scale * code + grid.bias);
            sum[l] += weight[i + l] * off * off;
        }
    return sum_lanes(sum);
}

/* A grid as it will be stored; a scale that would become zero stays just above it. */
static sluice_fit_grid store(sluice_weight_format format, sluice_fit_grid grid)
{
    float scale = sluice_fit_stored(format, grid.scale);
    if (!(fabsf(scale) > 1e-7f)) scale = sluice_fit_stored(format, 2e-7f);
    return (sluice_fit_grid){scale, sluice_fit_stored(format, grid.bias)};
}

sluice_fit_grid sluice_fit_search(sluice_weight_format format, const float *x, const float *weight)
{
    int32_t group = format.group;
    float low = x[0], high = x[0], codes_max = (float)((1 << format.bits) - 1);
    for (int32_t i = 1; i < group; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    sluice_fit_grid best = {0};
    float best_error = INFINITY;
    size_t count = format.bits > 2 ? STARTS_EVEN : sizeof starts / sizeof *starts;
    for (size_t i = 0; i < count; i++) {
        float span = (high - low) * (1.0f - starts[i][0] - starts[i][1]);
        sluice_fit_grid grid = {fmaxf(span / codes_max, 2e-7f), low + (high - low) * starts[i][0]};
        for (int turn = 0; turn < TURNS; turn++)
            grid = refit(group, codes_max, x, weight, grid);
        grid = store(format, grid);
        float error = error_of(group, codes_max, x, weight, grid);
        if (i && !(error < best_error)) continue;
        best = grid;
        best_error = error;
    }
    return best;
}
