/* Keeping keys and values in the cache, in the type and the layout that it has (backend.h). */
#include "kernels/cpu.h"

#include <string.h>

#define BLOCK SLUICE_KV_BLOCK

/* Where a head's keys or values begin, of those at offset. */
void *sluice_cpu_kv_head(const sluice_layer_state *state, size_t offset, int32_t head,
                         int32_t head_dim)
{
    return (unsigned char *)state->memory->memory + offset +
           (size_t)head * (size_t)state->capacity * sluice_kv_bytes(state->kv, head_dim);
}

/* The block of 16 positions that a head keeps this one in. */
static void *block_of(const sluice_cpu *cpu, const sluice_layer_state *state, size_t offset,
                      int32_t head, int32_t position)
{
    const int32_t dim = cpu->geometry.head_dim;
    unsigned char *at = sluice_cpu_kv_head(state, offset, head, dim);
    return at + (size_t)(position / BLOCK) * BLOCK * sluice_kv_bytes(state->kv, dim);
}

static void keep_f32(int32_t dim, const float *k, const float *v, float *keys, float *values,
                     int32_t lane)
{
    for (int32_t d = 0; d < dim; d++) {
        keys[(int64_t)d * BLOCK + lane] = k[d];
    }
    memcpy(values + (int64_t)lane * dim, v, (size_t)dim * sizeof *v);
}

static void keep_f16(const sluice_ops *ops, int32_t dim, const float *k, const float *v,
                     uint16_t *keys, uint16_t *values, int32_t lane)
{
    uint16_t half[64];
    for (int32_t d = 0; d < dim; d++) {
        if (d % 64 == 0) ops->narrow(k + d, dim - d < 64 ? dim - d : 64, half);
        keys[(int64_t)d * BLOCK + lane] = half[d % 64];
    }
    ops->narrow(v, dim, values + (int64_t)lane * dim);
}

/* Turns k and v. */
static void keep_int8(const sluice_cpu *cpu, float *k, float *v, unsigned char *keys,
                      unsigned char *values, int32_t lane, int8_t *codes)
{
    const int32_t dim = cpu->geometry.head_dim, padded = sluice_kv_padded(dim);
    const size_t scale_at = (size_t)padded * BLOCK + (size_t)lane * sizeof(float);
    cpu->ops->hadamard(k, dim);
    float scale = cpu->kernels.quantize_head(k, dim, codes);
    memcpy(keys + scale_at, &scale, sizeof scale);
    for (int32_t d = 0; d < padded; d++) {
        keys[d / 4 * 64 + lane * 4 + d % 4] = (unsigned char)(codes[d] + 128);
    }
    cpu->ops->hadamard(v, dim);
    scale = cpu->kernels.quantize_head(v, dim, codes);
    memcpy(values + scale_at, &scale, sizeof scale);
    for (int32_t d = 0; d < padded; d++) {
        values[d / 16 * 256 + lane / 4 * 64 + d % 16 * 4 + lane % 4] = (unsigned char)codes[d];
    }
}

void sluice_cpu_kv_keep(const sluice_cpu *cpu, const sluice_layer_state *state, int32_t head,
                        int32_t position, float *k, float *v, void *codes)
{
    const int32_t dim = cpu->geometry.head_dim, lane = position % BLOCK;
    void *keys = block_of(cpu, state, state->k, head, position);
    void *values = block_of(cpu, state, state->v, head, position);
    switch (state->kv) {
    case SLUICE_KV_F32: keep_f32(dim, k, v, keys, values, lane); break;
    case SLUICE_KV_F16: keep_f16(cpu->ops, dim, k, v, keys, values, lane); break;
    case SLUICE_KV_INT8: keep_int8(cpu, k, v, keys, values, lane, codes); break;
    }
}
