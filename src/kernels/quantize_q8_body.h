/* Activations to int8: the body that each instruction set compiles. The including file defines
 * QUANTIZE_Q8_INIT, and q8_store(int8_t *, v16i): 16 values of -127..127 as bytes. */
#include "kernels/families.h"
#include "kernels/kernels.h"
#include "kernels/v16.h"

#define Q8_TINY 1e-30f /* 127 / max stays finite, and nothing that small matters */

static void quantize_block(const float *x, int32_t block, int8_t *codes, float *scale, float *sum)
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
    *sum = *scale * v16_reduce_add(v16_from_i(total)); /* small integers: exact */
}

static void quantize_q8(const float *x, int64_t ldx, int32_t begin, int32_t end, const sluice_q8 *q)
{
    int32_t blocks = q->cols / q->block;
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < blocks; i++)
            quantize_block(x + t * ldx + i * q->block, q->block,
                           q->codes + t * q->stride + i * q->block, q->scales + t * blocks + i,
                           q->sums + t * blocks + i);
}

void QUANTIZE_Q8_INIT(sluice_kernels *table)
{
    table->quantize_q8 = quantize_q8;
}
