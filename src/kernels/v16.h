/* Sixteen lanes: the one vector width that kernel bodies are written in.
 *
 * A kernel body (*_body.h) is written once over these operations and compiled once per instruction
 * set by a small file that includes that set's header first: v16_scalar.h, x86/v16_avx2.h,
 * x86/v16_avx512.h, arm/v16_neon.h. Each of them defines
 *
 *   v16f, v16i              16 x f32, 16 x i32 (or u32)
 *   v16_zero, v16_set1, v16_load, v16_store          no alignment beyond the element's
 *   v16_load_n, v16_store_n                          n of 0..16 lanes; lanes not loaded are zero,
 *                                                    and nothing past lane n-1 is touched
 *   v16_load_bf16, v16_load_f16, v16_store_f16       16 x 16 bits to or from f32
 *   v16_add, v16_sub, v16_mul, v16_div, v16_sqrt     one IEEE rounding each
 *   v16_fma(a, b, c) = a*b + c, v16_fnma(a, b, c) = c - a*b, one rounding
 *   v16_max(a, b) = a > b ? a : b, v16_min(a, b) = a < b ? a : b   (so b, if either is NaN)
 *   v16_abs, v16_neg, v16_select_gt(a, b, x, y) = a > b ? x : y
 *   v16_round               to nearest even, as f32; |a| < 2^31
 *   v16_to_i, v16_from_i    to nearest even; |a| < 2^31
 *   v16_as_i, v16_as_f      the same bits
 *   v16_swap(a, h)          lanes j and j ^ h change places; h a constant: 1, 2, 4 or 8
 *   v16_reduce_add, v16_reduce_max                   tree: lanes j and j+8, j+4, j+2, j+1
 *   v16i_set1, v16i_load, v16i_store, v16i_add, v16i_sub, v16i_and, v16i_or, v16i_xor,
 *   v16i_shl, v16i_shr (logical, by a constant)
 *
 * with the same bits on every instruction set: that is what makes a run's output a function of the
 * model and the input alone, and lets the checker compare with ==. A sum over a dimension therefore
 * gives lane j the elements j, j+16, ..., uses v16_fma, and ends in v16_reduce_add. Never write
 * a*b + c as two operations in one body and one in another.
 *
 * What it does not do: anything that an instruction set does not do exactly (no reciprocal
 * estimates). */
#ifndef SLUICE_KERNELS_V16_H
#define SLUICE_KERNELS_V16_H

#include <stdint.h>
#include <string.h>

#include "quant/weight.h"

#define V16_INLINE static inline __attribute__((always_inline, unused))

#endif
