/* Element by element along a row: RoPE, SwiGLU, gates, softmax, weighted sums, the short
 * convolution. */
#ifndef SLUICE_KERNELS_ROWWISE_BODY_H
#define SLUICE_KERNELS_ROWWISE_BODY_H

#include "kernels/ops.h"
#include "kernels/vmath_body.h"

static void rope(float *x, const float *cosines, const float *sines, int32_t half)
{
    for (int32_t i = 0; i < half; i += 16) {
        const v16f low = v16_load_at(x, i, half);
        const v16f high = v16_load_at(x + half, i, half);
        const v16f c = v16_load_at(cosines, i, half);
        const v16f s = v16_load_at(sines, i, half);
        v16_store_at(x, i, half, v16_sub(v16_mul(low, c), v16_mul(high, s)));
        v16_store_at(x + half, i, half, v16_add(v16_mul(high, c), v16_mul(low, s)));
    }
}

static void swiglu(const float *gate, const float *up, int32_t n, float *out)
{
    for (int32_t i = 0; i < n; i += 16) {
        const v16f activated = v16_silu(v16_load_at(gate, i, n));
        v16_store_at(out, i, n, v16_mul(activated, v16_load_at(up, i, n)));
    }
}

static void sigmoid(float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i += 16) {
        v16_store_at(x, i, n, v16_sigmoid(v16_load_at(x, i, n)));
    }
}

static void gdn_gates(const float *a, const float *b, const float *decay, const float *dt_bias,
                      int32_t n, float *g, float *beta)
{
    for (int32_t i = 0; i < n; i += 16) {
        const v16f step = v16_add(v16_load_at(a, i, n), v16_load_at(dt_bias, i, n));
        v16_store_at(g, i, n, v16_mul(v16_load_at(decay, i, n), v16_softplus(step)));
        v16_store_at(beta, i, n, v16_sigmoid(v16_load_at(b, i, n)));
    }
}

static void softmax(float *x, int32_t n)
{
    v16f largest = v16_set1(x[0]);
    for (int32_t i = 0; i + 16 <= n; i += 16) {
        largest = v16_max(largest, v16_load(x + i));
    }
    float max = v16_reduce_max(largest);
    for (int32_t i = n / 16 * 16; i < n; i++) {
        if (x[i] > max) max = x[i];
    }
    const v16f shift = v16_set1(max);
    v16f sums = v16_zero();
    for (int32_t i = 0; i < n; i += 16) {
        v16_store_at(x, i, n, v16_exp(v16_sub(v16_load_at(x, i, n), shift)));
        sums = v16_add(sums, v16_load_at(x, i, n)); /* read again: zeros after the tail */
    }
    const v16f sum = v16_set1(v16_reduce_add(sums));
    for (int32_t i = 0; i < n; i += 16) {
        v16_store_at(x, i, n, v16_div(v16_load_at(x, i, n), sum));
    }
}

static void combine(const float *weights, const float *y, int32_t k, const float *shared, int32_t n,
                    float *h)
{
    for (int32_t i = 0; i < n; i += 16) {
        v16f sum = v16_zero();
        for (int32_t j = 0; j < k; j++) {
            if (weights[j] == 0.0f) continue;
            sum = v16_fma(v16_set1(weights[j]), v16_load_at(y + (int64_t)j * n, i, n), sum);
        }
        sum = v16_add(sum, v16_load_at(shared, i, n));
        v16_store_at(h, i, n, v16_add(v16_load_at(h, i, n), sum));
    }
}

/* Sixteen channels of all rows. `taps` are the channels' [lanes, width], turned into lanes first.
 */
V16_INLINE void conv_channels(const float *const *rows, int32_t count, const float *taps,
                              const int32_t width, int32_t i, int32_t lanes, float *out,
                              int64_t out_row)
{
    v16f tap[SLUICE_CONV_WIDTH_MAX];
    for (int32_t t = 0; t < width; t++) {
        float lane_taps[16] = {0};
        for (int32_t lane = 0; lane < lanes; lane++) {
            lane_taps[lane] = taps[(int64_t)lane * width + t];
        }
        tap[t] = v16_load(lane_taps);
    }
    for (int32_t r = 0; r < count; r++) {
        v16f sum = v16_zero();
        for (int32_t t = 0; t < width; t++) {
            sum = v16_fma(tap[t], v16_load_at(rows[r + t], i, i + lanes), sum);
        }
        v16_store_at(out + r * out_row, i, i + lanes, v16_silu(sum));
    }
}

static void conv(const float *const *rows, int32_t count, const float *taps, int32_t width,
                 int32_t n, float *out, int64_t out_row)
{
    int32_t i = 0;
    for (; width == 4 && i + 16 <= n; i += 16) {
        conv_channels(rows, count, taps + (int64_t)i * 4, 4, i, 16, out, out_row);
    }
    for (; i < n; i += 16) {
        const int32_t lanes = n - i < 16 ? n - i : 16;
        conv_channels(rows, count, taps + (int64_t)i * width, width, i, lanes, out, out_row);
    }
}

#endif
