/* A seeded generator: the same seed gives the same numbers on every machine.
 *
 * xoshiro256** (Blackman and Vigna, 2018), its state filled by splitmix64. Not for secrets. A
 * generator belongs to one thread. */
#ifndef SLUICE_BASE_RNG_H
#define SLUICE_BASE_RNG_H

#include <stdint.h>

typedef struct sluice_rng {
    uint64_t s[4];
} sluice_rng;

static inline uint64_t sluice_rng_splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void sluice_rng_seed(sluice_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = sluice_rng_splitmix(&seed);
}

static inline uint64_t sluice_rng_rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* 64 uniform bits. */
static inline uint64_t sluice_rng_next(sluice_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = sluice_rng_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = sluice_rng_rotl(s[3], 45);
    return result;
}

/* Uniform in [0, n), n >= 1; exact (values that would favour the low numbers are drawn again). */
static inline uint64_t sluice_rng_below(sluice_rng *rng, uint64_t n)
{
    uint64_t x, reject = (0 - n) % n;
    do
        x = sluice_rng_next(rng);
    while (x < reject);
    return x % n;
}

/* Uniform in [0, 1), 53 bits. */
static inline double sluice_rng_unit(sluice_rng *rng)
{
    return (double)(sluice_rng_next(rng) >> 11) * 0x1p-53;
}

#endif
