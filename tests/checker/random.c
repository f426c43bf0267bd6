/* Inputs: ordinary ones, and those that kernels get wrong. */
#include <math.h>
#include <string.h>

#include "checker/checker.h"

uint32_t check_below(check *c, uint32_t n)
{
    return (uint32_t)((sluice_rng_next(&c->rng) >> 32) * n >> 32);
}

int32_t check_between(check *c, int32_t low, int32_t high)
{
    return low + (int32_t)check_below(c, (uint32_t)(high - low + 1));
}

/* Sum of twelve uniform numbers of 16 bits: near enough to normal, and the same on every machine.
 */
float check_normal(check *c)
{
    int32_t sum = -6 * 65536;
    for (int i = 0; i < 3; i++)
        for (uint64_t four = sluice_rng_next(&c->rng), j = 0; j < 4; j++, four >>= 16)
            sum += (int32_t)(four & 65535);
    return (float)sum * 0x1p-16f;
}

float check_extreme(check *c, uint32_t rare)
{
    static const float values[] = {0.0f,    -0.0f,  1e-45f, -1e-40f,   1.17549435e-38f,
                                   -1e-30f, 1e-20f, 1e18f,  -3e30f,    65504.0f,
                                   1.0f,    -1.0f,  127.0f, 8388609.0f};
    if (check_below(c, rare)) return check_normal(c);
    return values[check_below(c, sizeof values / sizeof values[0])];
}

bool check_same(float a, float b)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return memcmp(&a, &b, sizeof a) == 0;
}
