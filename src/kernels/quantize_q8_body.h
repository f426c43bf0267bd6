/* Activations to int8: the body that each instruction set compiles. The including file defines
 * QUANTIZE_Q8_INIT, and q8_store(int8_t *, v16i): 16 values of -127..127 as bytes. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/v16.h"

#define Q8_TINY 1e-30f /* 127 / max stays finite, and nothing that small matters */

/* Returns scale * (sum of the codes). */
V16_INLINE float quantize_block(const float *x, int32_t block, int8_t *codes, float *scale)
{
    v16f top = v16_zero();
    for (int32_t c = 0; c < block; c += 16)
        top = v16_max(v16_abs(v16_load(x + c)), top);
    float max = v16_reduce_max(top);
    bool some = max >= Q8_TINY;
    v16f inverse = v16_set1(some ? 127.0f / max : 0.0f);
    v16i total = v16i_set1(0);
    for (int32_t c = 0; c < block; c += 16) {
        v16i code = v16_to_i(v16_mul(v16_load(x + c), inverse));
        q8_store(codes + c, code);
        total = v16i_add(total, code);
    }
    *scale = some ? max / 127.0f : 0.0f;
    return *scale * v16_reduce_add(v16_from_i(total)); /* the sum is a small integer: exact */
}

static void quantize_row(const float *x, const sluice_q8 *q, int64_t t)
{
    const int32_t units = q->cols / SLUICE_UNIT_COLS;
    int8_t *codes = q->codes + t * q->stride;
    float *scales = q->scales + t * (q->cols / q->block), *unit_sums = q->sums[0] + t * units;
    for (int32_t i = 0; i < units; i++, x += SLUICE_UNIT_COLS, codes += SLUICE_UNIT_COLS) {
        if (q->block == 32) {
            unit_sums[i] = quantize_block(x, 32, codes, scales++);
            continue;
        }
        float first = quantize_block(x, 16, codes, scales++);
        unit_sums[i] = first + quantize_block(x + 16, 16, codes + 16, scales++);
    }
    for (int level = 1; level < 3; level++) {
        const int32_t groups = units >> level;
        const float *half = q->sums[level - 1] + t * (units >> (level - 1));
        for (int32_t i = 0; i < groups; i++)
            q->sums[level][t * groups + i] = half[2 * i] + half[2 * i + 1];
    }
}

static void quantize_q8(const float *x, int64_t ldx, int32_t begin, int32_t end, const sluice_q8 *q)
{
    for (int64_t t = begin; t < end; t++)
        quantize_row(x + t * ldx, q, t);
}

void QUANTIZE_Q8_INIT(sluice_kernels *table)
{
    table->quantize_q8 = quantize_q8;
}
