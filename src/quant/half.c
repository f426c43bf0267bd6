/* 16-bit floats: IEEE half and bfloat16 to and from f32, round to nearest even, in integer
 * arithmetic so that every machine gives the same bits. */
#include <string.h>

#include "quant/weight.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float sluice_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) { /* infinity; NaN becomes quiet, as the processors do it */
        uint32_t quiet = magnitude > 0x7c00 ? 1u << 22 : 0;
        return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13 | quiet);
    }
    if (magnitude < 0x0400) { /* zero and denormals: m * 2^-24, exact */
        float value = (float)magnitude * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | ((magnitude << 13) + ((127u - 15u) << 23)));
}

uint16_t sluice_float_to_half(float value)
{
    uint32_t bits = bits_of(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) /* NaN: quiet, payload cut */
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude <
        0x38800000) { /* below 2^-14: adding 0.5 leaves round(x * 2^24) in the low bits */
        uint32_t denormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
        return (uint16_t)(sign | denormal);
    }
    uint32_t odd = magnitude >> 13 & 1;
    uint32_t rounded = magnitude - ((127u - 15u) << 23) + 0xfff + odd;
    return (uint16_t)(sign | rounded >> 13);
}

uint16_t sluice_float_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
