/* See moment.h. Everything is computed in double and stored as float. */
#include "quant/moment.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

uint64_t sluice_moment_bytes(int32_t cols, int32_t block)
{
    return ((uint64_t)cols * (uint64_t)block * 2 + (uint64_t)cols) * sizeof(float);
}

sluice_status sluice_moment_new(int32_t cols, int32_t block, sluice_moment **out, sluice_error *err)
{
    sluice_moment *moment = calloc(1, sizeof *moment);
    size_t square = (size_t)cols * (size_t)block;
    if (moment) {
        *moment = (sluice_moment){.cols = cols, .block = block};
        moment->correlation = calloc(square, sizeof(float));
        moment->factor = calloc(square, sizeof(float));
        moment->scale = calloc((size_t)cols, sizeof(float));
    }
    if (!moment || !moment->correlation || !moment->factor || !moment->scale) {
        sluice_moment_free(moment);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the moments of %d columns", cols);
    }
    *out = moment;
    return SLUICE_OK;
}

void sluice_moment_free(sluice_moment *moment)
{
    if (!moment) return;
    free(moment->correlation);
    free(moment->factor);
    free(moment->scale);
    free(moment);
}

void sluice_moment_set_scale(const float *squares, int32_t cols, float *scale)
{
    double sum = 0;
    for (int32_t i = 0; i < cols; i++)
        sum += (double)squares[i];
    float floor = (float)sqrt(sum / cols) * 1e-3f;
    if (!(floor > 0.0f)) floor = 1.0f;
    for (int32_t i = 0; i < cols; i++) {
        float root = sqrtf(squares[i]);
        scale[i] = root > floor ? root : floor;
    }
}

/* a [n, n], symmetric, becomes R with a = R RT, R upper triangular (what is left of the diagonal is
 * left as it was). False if a is not positive. */
static bool upper_root(double *a, int32_t n)
{
    for (int32_t j = n - 1; j >= 0; j--) {
        double *row = a + (ptrdiff_t)j * n, pivot = row[j];
        for (int32_t k = j + 1; k < n; k++)
            pivot -= row[k] * row[k];
        if (!(pivot > 0)) return false;
        row[j] = sqrt(pivot);
        for (int32_t i = 0; i < j; i++) {
            double *other = a + (ptrdiff_t)i * n, sum[4] = {0};
            int32_t k = j + 1;
            for (; k + 4 <= n; k += 4)
                for (int lane = 0; lane < 4; lane++)
                    sum[lane] += other[k + lane] * row[k + lane];
            for (; k < n; k++)
                sum[0] += other[k] * row[k];
            other[j] = (other[j] - (sum[0] + sum[1] + (sum[2] + sum[3]))) / row[j];
        }
    }
    return true;
}

/* The inverse of an upper triangular matrix, in its place. */
static void upper_inverse(double *r, int32_t n, double *scratch)
{
    for (int32_t i = n - 1; i >= 0; i--) {
        double *row = r + (ptrdiff_t)i * n, first = 1.0 / row[i];
        memset(scratch, 0, (size_t)n * sizeof *scratch);
        for (int32_t k = i + 1; k < n; k++) {
            const double *below = r + (ptrdiff_t)k * n; /* of the inverse already */
            double weight = row[k];
            for (int32_t j = k; j < n; j++)
                scratch[j] += weight * below[j];
        }
        for (int32_t j = i + 1; j < n; j++)
            row[j] = -first * scratch[j];
        row[i] = first;
    }
}

static sluice_status set_block(sluice_moment *moment, const float *h, int32_t first, float damping,
                               double *a, sluice_error *err)
{
    int32_t block = moment->block;
    int32_t n = moment->cols - first < block ? moment->cols - first : block;
    double *scratch = a + (ptrdiff_t)n * n;
    for (int32_t i = 0; i < n; i++) {
        float *c = moment->correlation + (ptrdiff_t)(first + i) * block;
        const float *row = h + (ptrdiff_t)(first + i) * block;
        for (int32_t j = 0; j < n; j++) {
            float scales = moment->scale[first + i] * moment->scale[first + j];
            c[j] = i == j ? 1.0f + damping : row[j] / scales;
            a[(ptrdiff_t)i * n + j] = (double)c[j];
        }
    }
    if (!upper_root(a, n))
        return sluice_fail(err, SLUICE_CORRUPT,
                           "the second moments of columns %d to %d are not those of any inputs",
                           first, first + n - 1);
    upper_inverse(a, n, scratch);
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = i; j < n; j++)
            moment->factor[(ptrdiff_t)(first + i) * block + j] = (float)a[(ptrdiff_t)i * n + j];
    return SLUICE_OK;
}

sluice_status sluice_moment_set(sluice_moment *moment, const float *h, float damping,
                                sluice_error *err)
{
    int32_t cols = moment->cols, block = moment->block;
    double *a = malloc(((size_t)block + 1) * (size_t)block * sizeof *a);
    if (!a) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a block of moments");
    for (int32_t i = 0; i < cols; i++)
        moment->scale[i] = h[(ptrdiff_t)i * block + i % block];
    sluice_moment_set_scale(moment->scale, cols, moment->scale);
    memset(moment->factor, 0, (size_t)cols * (size_t)block * sizeof(float));
    sluice_status status = SLUICE_OK;
    for (int32_t first = 0; first < cols && status == SLUICE_OK; first += block)
        status = set_block(moment, h, first, damping, a, err);
    free(a);
    return status;
}
