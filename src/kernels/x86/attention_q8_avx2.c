/* Attention over int8 with vpmaddubsw: u8 x s8 into pairs of i16, which saturates above 32767. Keys
 * are taken without their signs, which go to the query: a pair is at most 2 * 127 * 127. Values
 * meet weights of up to 255, so a pair of theirs goes apart. */
#include "kernels/x86/part_avx2.h"

#include "kernels/linear_lines.h"

#include "kernels/x86/bytes_avx2.h"

#define begin_keys(sum) _mm256_setzero_si256()
#define SUMS_OF_VALUES 0
#define begin_values(sum) _mm256_setzero_si256()

V16_INLINE sums dot_keys(sums s, line w, const uint8_t *x)
{
    const __m256i key = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    const __m256i query = _mm256_sign_epi8(quad_set1((const void *)x), key);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(key), query);
    return _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V16_INLINE sums dot_values(sums s, line w, const uint8_t *x)
{
    const __m256i one = _mm256_set1_epi16(1), even = _mm256_set1_epi16(255);
    const __m256i weights = quad_set1((const void *)x);
    const __m256i low = _mm256_maddubs_epi16(weights, _mm256_and_si256(even, w));
    const __m256i high = _mm256_maddubs_epi16(weights, _mm256_andnot_si256(even, w));
    s = _mm256_add_epi32(s, _mm256_madd_epi16(low, one));
    return _mm256_add_epi32(s, _mm256_madd_epi16(high, one));
}

#define TILE_ROWS 2
#define TILE_LINES 2
#define ATTENTION_Q8_INIT sluice_attention_q8_init_avx2
#include "kernels/attention_q8_body.h"
