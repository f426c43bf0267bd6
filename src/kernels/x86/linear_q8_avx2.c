/* linear_q8 with vpmaddubsw: u8 x s8 into pairs of i16, which saturates, so that what is added up
 * in i16 is bounded by the bits of the codes. A pair is at most 2 * (2^bits - 1) * 127 in
 * magnitude: 5 bits 7874, four of them 31496; 6 bits 16002, two of them 32004; 8 bits 64770, too
 * much: these go in two nibbles, four pairs of 3810 each. */
#include "kernels/x86/part_avx2.h"

V16_INLINE __m256i pairs_of_four(const line w[4], const int8_t *x)
{
    __m256i a = _mm256_maddubs_epi16(w[0], quad_set1(x));
    __m256i b = _mm256_maddubs_epi16(w[1], quad_set1(x + 4));
    __m256i c = _mm256_maddubs_epi16(w[2], quad_set1(x + 8));
    __m256i d = _mm256_maddubs_epi16(w[3], quad_set1(x + 12));
    return _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
}

V16_INLINE sums dot(int bits, sums s, const line w[4], const int8_t *x)
{
    const __m256i one = _mm256_set1_epi16(1), nibble = _mm256_set1_epi8(15);
    if (bits <= 5) return _mm256_add_epi32(s, _mm256_madd_epi16(pairs_of_four(w, x), one));
    if (bits == 6) {
        for (int k = 0; k < 4; k += 2) {
            __m256i a = _mm256_maddubs_epi16(w[k], quad_set1(x + 4 * k));
            __m256i b = _mm256_maddubs_epi16(w[k + 1], quad_set1(x + 4 * k + 4));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_add_epi16(a, b), one));
        }
        return s;
    }
    line low[4], high[4];
    for (int k = 0; k < 4; k++) {
        low[k] = _mm256_and_si256(w[k], nibble);
        high[k] = _mm256_and_si256(_mm256_srli_epi16(w[k], 4), nibble);
    }
    s = _mm256_add_epi32(s, _mm256_madd_epi16(pairs_of_four(low, x), one));
    return _mm256_add_epi32(s, _mm256_madd_epi16(pairs_of_four(high, x), _mm256_set1_epi16(16)));
}

#define TILE_TOKENS 4
#define LINEAR_Q8_NAME sluice_linear_q8_avx2
#define LINEAR_Q8_INIT sluice_linear_q8_init_avx2
#include "kernels/linear_q8_body.h"
