/* The family of operations along a row: norms, RoPE, gates, softmax, weighted sum, convolution. */
#include <math.h>
#include <string.h>

#include "checker/ops.h"

#define EPS 1e-6f

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double inverse_root(const float *x, int32_t n, double divisor, double eps)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return 1.0 / sqrt(sum / divisor + eps);
}

static void call_rmsnorm(const sluice_ops *ops, const ops_call *a)
{
    ops->rmsnorm(a->buffers[0], a->buffers[1], EPS, a->n, a->buffers[2]);
}

static void truth_rmsnorm(const ops_call *a, double *const *want)
{
    const double scale = inverse_root(a->buffers[0], a->n, a->n, (double)EPS);
    for (int32_t i = 0; i < a->n; i++)
        want[0][i] = (double)a->buffers[0][i] * scale * (double)a->buffers[1][i];
}

static void call_rmsnorm_gated(const sluice_ops *ops, const ops_call *a)
{
    ops->rmsnorm_gated(a->buffers[2], a->buffers[0], a->buffers[1], EPS, a->n);
}

static void truth_rmsnorm_gated(const ops_call *a, double *const *want)
{
    const double scale = inverse_root(a->buffers[2], a->n, a->n, (double)EPS);
    for (int32_t i = 0; i < a->n; i++) {
        const double z = (double)a->buffers[1][i];
        want[0][i] *= scale * (double)a->buffers[0][i] * z * sigmoid(z);
    }
}

static void call_l2norm(const sluice_ops *ops, const ops_call *a)
{
    ops->l2norm(a->buffers[0], 0.125f, a->n);
}

static void truth_l2norm(const ops_call *a, double *const *want)
{
    const double scale = 0.125 * inverse_root(a->buffers[0], a->n, 1.0, 1e-6);
    for (int32_t i = 0; i < a->n; i++)
        want[0][i] *= scale;
}

static void call_rope(const sluice_ops *ops, const ops_call *a)
{
    ops->rope(a->buffers[2], a->buffers[0], a->buffers[1], a->n);
}

static void truth_rope(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++) {
        const double cosine = (double)a->buffers[0][i], sine = (double)a->buffers[1][i];
        const double low = want[0][i], high = want[0][i + a->n];
        want[0][i] = low * cosine - high * sine;
        want[0][i + a->n] = high * cosine + low * sine;
    }
}

static void call_swiglu(const sluice_ops *ops, const ops_call *a)
{
    ops->swiglu(a->buffers[0], a->buffers[1], a->n, a->buffers[2]);
}

static void truth_swiglu(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++) {
        const double gate = (double)a->buffers[0][i];
        want[0][i] = gate * sigmoid(gate) * (double)a->buffers[1][i];
    }
}

static void call_sigmoid(const sluice_ops *ops, const ops_call *a)
{
    ops->sigmoid(a->buffers[0], a->n);
}

static void truth_sigmoid(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++)
        want[0][i] = sigmoid(want[0][i]);
}

static void call_gates(const sluice_ops *ops, const ops_call *a)
{
    ops->gdn_gates(a->buffers[0], a->buffers[1], a->buffers[2], a->buffers[3], a->n, a->buffers[4],
                   a->buffers[5]);
}

static void truth_gates(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++) {
        const double step = (double)a->buffers[0][i] + (double)a->buffers[3][i];
        const double softplus = step > 30.0 ? step : log1p(exp(step));
        want[0][i] = (double)a->buffers[2][i] * softplus;
        want[1][i] = sigmoid((double)a->buffers[1][i]);
    }
}

static void call_low_rank_in(const sluice_ops *ops, const ops_call *a)
{
    ops->low_rank_in(a->buffers[0], a->buffers[1], a->k, 0.75f, a->n, a->buffers[2]);
}

static void truth_low_rank_in(const ops_call *a, double *const *want)
{
    for (int32_t r = 0; r < a->k; r++) {
        double sum = 0.0;
        for (int32_t i = 0; i < a->n; i++)
            sum += (double)a->buffers[0][i] * (double)a->buffers[1][r * a->n + i];
        want[0][r] = 0.75 * sum;
    }
}

/* Rows of b are n + 3 apart. */
static void call_low_rank_out(const sluice_ops *ops, const ops_call *a)
{
    ops->low_rank_out(a->buffers[0], a->buffers[1], a->n + 3, a->k, a->n, a->buffers[2]);
}

static void truth_low_rank_out(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++)
        for (int32_t r = 0; r < a->k; r++)
            want[0][i] += (double)a->buffers[0][r] * (double)a->buffers[1][r * (a->n + 3) + i];
}

static void call_softmax(const sluice_ops *ops, const ops_call *a)
{
    ops->softmax(a->buffers[0], a->n);
}

static void truth_softmax(const ops_call *a, double *const *want)
{
    double max = want[0][0], sum = 0.0;
    for (int32_t i = 0; i < a->n; i++)
        max = fmax(max, want[0][i]);
    for (int32_t i = 0; i < a->n; i++)
        sum += want[0][i] = exp(want[0][i] - max);
    for (int32_t i = 0; i < a->n; i++)
        want[0][i] /= sum;
}

/* The second weight is zero: its row may hold anything. */
static void prepare_combine(const ops_call *a)
{
    if (a->k > 1) a->buffers[0][1] = 0.0f;
}

static void call_combine(const sluice_ops *ops, const ops_call *a)
{
    ops->combine(a->buffers[0], a->buffers[1], a->k, a->buffers[2], a->n, a->buffers[3]);
}

static void truth_combine(const ops_call *a, double *const *want)
{
    for (int32_t i = 0; i < a->n; i++) {
        want[0][i] += (double)a->buffers[2][i];
        for (int32_t j = 0; j < a->k; j++)
            if (j != 1)
                want[0][i] += (double)a->buffers[0][j] * (double)a->buffers[1][j * a->n + i];
    }
}

/* k: width; m: rows; input rows lie apart from each other. */
static void call_conv(const sluice_ops *ops, const ops_call *a)
{
    const float *rows[64];
    for (int32_t i = 0; i < a->m + a->k - 1; i++)
        rows[i] = a->buffers[1] + i * (a->n + 1);
    ops->conv(rows, a->m, a->buffers[0], a->k, a->n, a->buffers[2], a->n + 2);
}

static void truth_conv(const ops_call *a, double *const *want)
{
    for (int32_t r = 0; r < a->m; r++) {
        for (int32_t i = 0; i < a->n; i++) {
            double sum = 0.0;
            for (int32_t t = 0; t < a->k; t++)
                sum += (double)a->buffers[0][i * a->k + t] *
                       (double)a->buffers[1][(r + t) * (a->n + 1) + i];
            want[0][r * (a->n + 2) + i] = sum * sigmoid(sum);
        }
    }
}

/* Up to what f16 holds, and beyond. */
static void prepare_narrow(const ops_call *a)
{
    for (int32_t i = 0; i < a->n; i += 3)
        a->buffers[0][i] *= 1e5f;
}

/* The output is of 16 bits an element. */
static void call_narrow(const sluice_ops *ops, const ops_call *a)
{
    ops->narrow(a->buffers[0], a->n, (uint16_t *)(void *)a->buffers[1]);
}

static void call_hadamard(const sluice_ops *ops, const ops_call *a)
{
    ops->hadamard(a->buffers[0], a->n);
}

static void truth_hadamard(const ops_call *a, double *const *want)
{
    const int32_t block = a->n & -a->n;
    double x[512];
    for (int32_t begin = 0; begin < a->n; begin += block) {
        memcpy(x, want[0] + begin, (size_t)block * sizeof *x);
        for (int32_t i = 0; i < block; i++) {
            double sum = 0.0;
            for (int32_t j = 0; j < block; j++)
                sum += __builtin_parity((unsigned)(i & j)) ? -x[j] : x[j];
            want[0][begin + i] = sum / sqrt((double)block);
        }
    }
}

static void check_rows(check *c, int32_t n, float scale)
{
    const size_t s = (size_t)n;
    const int32_t k = check_between(c, 1, 10), width = check_between(c, 2, 5);
    const int32_t m = check_between(c, 1, 16);
    const size_t conv_in = (size_t)((m + width - 1) * (n + 1));
    const size_t conv_out = (size_t)(m * (n + 2));
    const ops_call calls[] = {
        {"rmsnorm", NULL, call_rmsnorm, truth_rmsnorm, 3e-6, 2, 1, {s, s, s}, .n = n},
        {"rmsnorm_gated",
         NULL,
         call_rmsnorm_gated,
         truth_rmsnorm_gated,
         3e-6,
         2,
         1,
         {s, s, s},
         .n = n},
        {"l2norm", NULL, call_l2norm, truth_l2norm, 1e-6, 0, 1, {s}, .n = n},
        {"rope", NULL, call_rope, truth_rope, 1e-5, 2, 1, {s, s, 2 * s}, .n = n},
        {"swiglu", NULL, call_swiglu, truth_swiglu, 1e-6, 2, 1, {s, s, s}, .n = n},
        {"sigmoid", NULL, call_sigmoid, truth_sigmoid, 1e-6, 0, 1, {s}, .n = n},
        {"gdn_gates", NULL, call_gates, truth_gates, 1e-6, 4, 2, {s, s, s, s, s, s}, .n = n},
        {"narrow", prepare_narrow, call_narrow, NULL, 0, 1, 1, {s, (s + 1) / 2}, .n = n},
        {"hadamard", NULL, call_hadamard, truth_hadamard, 3e-6, 0, 1, {s}, .n = n},
        {"softmax", NULL, call_softmax, truth_softmax, 2e-6, 0, 1, {s}, .n = n},
        {"combine",
         prepare_combine,
         call_combine,
         truth_combine,
         1e-4,
         3,
         1,
         {(size_t)k, (size_t)k * s, s, s},
         .n = n,
         .k = k},
        {"low_rank_in",
         NULL,
         call_low_rank_in,
         truth_low_rank_in,
         1e-4,
         2,
         1,
         {s, (size_t)k * s, (size_t)k},
         .n = n,
         .k = k},
        {"low_rank_out",
         NULL,
         call_low_rank_out,
         truth_low_rank_out,
         1e-4,
         2,
         1,
         {(size_t)k, (size_t)(k * (n + 3)), s},
         .n = n,
         .k = k},
        {"conv",
         NULL,
         call_conv,
         truth_conv,
         1e-4,
         2,
         1,
         {(size_t)width * s, conv_in, conv_out},
         .n = n,
         .k = width,
         .m = m},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        ops_call call = calls[i];
        call.scale = scale;
        ops_check(c, &call);
    }
}

static void run(check *c)
{
    for (int32_t n = 1; n <= 70 && !check_enough(c); n++)
        check_rows(c, n, 1.0f);
    for (int i = 0; i < 30 && !check_enough(c); i++)
        check_rows(c, check_between(c, 1, 400), i % 2 ? 8.0f : 0.01f);
    check_rows(c, 128, 1.0f);
    check_rows(c, 256, 1.0f);
    ops_planted_clear();
}

static void (*right_rmsnorm)(const float *, const float *, float, int32_t, float *);

static void wrong_tail(const float *x, const float *weight, float eps, int32_t n, float *out)
{
    right_rmsnorm(x, weight, eps, n, out);
    if (n % 16) out[n - 1] = x[n - 1];
}

static void (*right_softmax)(float *, int32_t);

static void wrong_sum(float *x, int32_t n)
{
    right_softmax(x, n);
    if (n > 32) x[32] = nextafterf(x[32], 1.0f);
}

static const char *const defects[] = {"rmsnorm-tail", "softmax-one-ulp", NULL};

static bool plant(check *c, const char *defect)
{
    if (strcmp(defect, defects[0]) != 0 && strcmp(defect, defects[1]) != 0) return false;
    sluice_ops *ops = ops_plant(c);
    if (!strcmp(defect, defects[0])) {
        right_rmsnorm = ops->rmsnorm;
        ops->rmsnorm = wrong_tail;
    } else {
        right_softmax = ops->softmax;
        ops->softmax = wrong_sum;
    }
    return true;
}

const check_family check_ops_rows = {"ops_rows", run, NULL, ops_same, plant, defects};
