/* One row of activations or a few, in f32: a part of linear_f32_body.h, which includes it.
 *
 * Weights are unpacked in registers and used at once for all rows; a buffer in L1, as for many
 * rows, costs more than it saves. Every row has four sums, of columns j, j+4, ... (kernels.h):
 * where rows times four are more sums than there are registers, the panel is gone through twice,
 * for two of the four each time. Products a cycle of a core of Zen 4, which makes 16 at most, q4: 2
 * rows 9.6 (by the buffer 5.3), 4 rows 12.2 (9.3), 8 rows 13.2 (10.5), 9 rows as 4 and 5 12.1
 * (10.3). */
#ifndef SLUICE_KERNELS_LINEAR_F32_FEW_BODY_H
#define SLUICE_KERNELS_LINEAR_F32_FEW_BODY_H

#ifndef FEW_SUMS
#define FEW_SUMS 0 /* of one row alone */
#endif
#define FEW_ROWS 8 /* twice that many registers hold half of the sums */

/* Adds the products of columns j, first <= j < first + 2 or 4, of each four to a[row][j - first].
 * rows, first and js are constants wherever these are inlined. */
V16_INLINE void few_affine(const sluice_weight *w, int bits, const uint8_t *panel, const float *x,
                           int64_t ldx, int rows, int first, int js, v16f (*a)[4])
{
    sluice_weight_format format = w->format;
    int units = format.group / SLUICE_UNIT_COLS, scale_bytes = linear_scale_bytes(format.scale);
    for (int32_t col = 0; col < w->cols; col += format.group) {
        const uint8_t *tail = panel + units * linear_unit_bytes(bits);
        v16f scale = linear_scales(tail, format.scale);
        v16f bias = linear_scales(tail + scale_bytes, format.scale);
        for (; panel < tail; panel += linear_unit_bytes(bits), x += SLUICE_UNIT_COLS)
            LINEAR_UNROLL for (int k = 0; k < 8; k++)
            {
                v16i quad = linear_unit_quad(panel, bits, k);
                LINEAR_UNROLL for (int j = 0; j < js; j++)
                {
                    v16f weights = v16_fma(scale, quad_column(quad, first + j), bias);
                    LINEAR_UNROLL for (int t = 0; t < rows; t++) a[t][j] =
                        v16_fma(weights, v16_set1(x[t * ldx + 4 * k + first + j]), a[t][j]);
                }
            }
        panel = tail + 2 * scale_bytes;
    }
}

V16_INLINE void few_plain(uint8_t kind, int32_t cols, const uint8_t *panel, const float *x,
                          int64_t ldx, int rows, int first, int js, v16f (*a)[4])
{
    int32_t c = first;
    for (; c + js <= cols; c += 4)
        LINEAR_UNROLL for (int j = 0; j < js; j++)
        {
            v16f weights = plain_column(kind, panel, c + j);
            LINEAR_UNROLL for (int t = 0; t < rows; t++) a[t][j] =
                v16_fma(weights, v16_set1(x[t * ldx + c + j]), a[t][j]);
        }
    LINEAR_UNROLL for (int j = 0; j < js - 1; j++)
    {
        if (c + j >= cols) continue;
        v16f weights = plain_column(kind, panel, c + j);
        LINEAR_UNROLL for (int t = 0; t < rows; t++) a[t][j] =
            v16_fma(weights, v16_set1(x[t * ldx + c + j]), a[t][j]);
    }
}

V16_INLINE void few_panel(const sluice_weight *w, const uint8_t *panel, const float *x, int64_t ldx,
                          int rows, int first, int js, v16f (*sums)[4])
{
    v16f a[FEW_ROWS][4];
    LINEAR_UNROLL for (int t = 0; t < rows; t++) LINEAR_UNROLL for (int j = 0; j < js; j++)
        a[t][j] = v16_zero();
#define AFFINE(bits) few_affine(w, bits, panel, x, ldx, rows, first, js, a)
#define PLAIN(kind) few_plain(kind, w->cols, panel, x, ldx, rows, first, js, a)
    SWITCH_FORMAT(w->format, AFFINE, PLAIN)
#undef AFFINE
#undef PLAIN
    LINEAR_UNROLL for (int t = 0; t < rows; t++) LINEAR_UNROLL for (int j = 0; j < js; j++)
        sums[t][first + j] = a[t][j];
}

V16_INLINE void few_rows(const sluice_weight *w, int32_t begin, int32_t end, const float *x,
                         int64_t ldx, int rows, float *y, int64_t ldy)
{
    size_t bytes = sluice_weight_panel_bytes(w->format, w->cols);
    const uint8_t *panel = (const uint8_t *)w->data + (size_t)begin * bytes;
    for (int32_t i = begin; i < end; i++, panel += bytes) {
        v16f sums[FEW_ROWS][4];
        if (rows == 1 || rows * 4 <= FEW_SUMS) {
            few_panel(w, panel, x, ldx, rows, 0, 4, sums);
        } else {
            few_panel(w, panel, x, ldx, rows, 0, 2, sums);
            few_panel(w, panel, x, ldx, rows, 2, 2, sums);
        }
        for (int t = 0; t < rows; t++)
            store_sum(sums[t], y + t * ldy + (int64_t)i * SLUICE_PANEL_ROWS, panel_lanes(w, i));
    }
}

#if FEW_SUMS
static void linear_few(const sluice_weight *w, int32_t begin, int32_t end, const float *x,
                       int64_t ldx, int32_t n, float *y, int64_t ldy)
{
    switch (n) {
    case 2: few_rows(w, begin, end, x, ldx, 2, y, ldy); break;
    case 3: few_rows(w, begin, end, x, ldx, 3, y, ldy); break;
    case 4: few_rows(w, begin, end, x, ldx, 4, y, ldy); break;
    case 5: few_rows(w, begin, end, x, ldx, 5, y, ldy); break;
    case 6: few_rows(w, begin, end, x, ldx, 6, y, ldy); break;
    case 7: few_rows(w, begin, end, x, ldx, 7, y, ldy); break;
    default: few_rows(w, begin, end, x, ldx, 8, y, ldy); break;
    }
}

#endif

#endif
