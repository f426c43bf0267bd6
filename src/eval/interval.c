/* Confidence intervals (see interval.h). */
#include "eval/interval.h"

#include <math.h>

#define Z 1.959963984540054 /* of the normal distribution, 97.5% */

/* 97.5% of Student's t. Above the table the first terms of its expansion around the normal (Fisher
 * and Cornish 1960) are right to 1e-4. */
static double student(int32_t freedom)
{
    static const double table[] = {12.70620, 4.30265, 3.18245, 2.77645, 2.57058,
                                   2.44691,  2.36462, 2.30600, 2.26216, 2.22814};
    double n = (double)freedom;
    if (freedom <= (int32_t)(sizeof table / sizeof *table)) return table[freedom - 1];
    return Z + (pow(Z, 3) + Z) / (4 * n) + (5 * pow(Z, 5) + 16 * pow(Z, 3) + 3 * Z) / (96 * n * n);
}

sluice_interval sluice_interval_share(int64_t right, int64_t n)
{
    if (n == 0) return (sluice_interval){NAN, NAN, NAN};
    double count = (double)n, share = (double)right / count;
    double middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count);
    double half =
        Z / (1 + Z * Z / count) * sqrt(share * (1 - share) / count + Z * Z / (4 * count * count));
    double low = middle - half, high = middle + half;
    return (sluice_interval){share, right == 0 ? 0 : low, right == n ? 1 : high};
}

sluice_interval sluice_interval_ratio(const double *values, const double *weights, int32_t n)
{
    double value = 0, weight = 0, squares = 0;
    for (int32_t i = 0; i < n; i++) {
        value += values[i];
        weight += weights[i];
    }
    double ratio = value / weight;
    if (n < 2) return (sluice_interval){ratio, NAN, NAN};
    for (int32_t i = 0; i < n; i++) {
        double error = values[i] - ratio * weights[i];
        squares += error * error;
    }
    double half = student(n - 1) * sqrt(squares * (double)n / (double)(n - 1)) / weight;
    return (sluice_interval){ratio, ratio - half, ratio + half};
}

sluice_interval sluice_interval_exp(sluice_interval interval)
{
    return (sluice_interval){exp(interval.value), exp(interval.low), exp(interval.high)};
}
