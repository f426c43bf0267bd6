/* Which kernels run: plain C, then what each instruction set improves, low to high. */
#include "kernels/kernels.h"

#include "kernels/families.h"
#include "os/cpu.h"

typedef void (*init)(sluice_kernels *table);

/* In rising order; an entry runs if the machine has all of its flags. */
static const struct {
    uint32_t flags;
    init init;
} steps[] = {
    {0, sluice_linear_f32_init_scalar},
    {0, sluice_quantize_q8_init_scalar},
    {0, sluice_linear_q8_init_scalar},
    {0, sluice_attention_q8_init_scalar},
#if defined(__x86_64__)
    {SLUICE_CPU_AVX2, sluice_linear_f32_init_avx2},
    {SLUICE_CPU_AVX2, sluice_quantize_q8_init_avx2},
    {SLUICE_CPU_AVX2, sluice_linear_q8_init_avx2},
    {SLUICE_CPU_AVX2, sluice_attention_q8_init_avx2},
    {SLUICE_CPU_AVXVNNI, sluice_linear_q8_init_avxvnni},
    {SLUICE_CPU_AVXVNNI, sluice_attention_q8_init_avxvnni},
    {SLUICE_CPU_AVX512, sluice_linear_f32_init_avx512},
    {SLUICE_CPU_AVX512, sluice_quantize_q8_init_avx512},
    {SLUICE_CPU_AVX512 | SLUICE_CPU_AVX512VNNI, sluice_linear_q8_init_avx512vnni},
    {SLUICE_CPU_AVX512 | SLUICE_CPU_AVX512VNNI, sluice_attention_q8_init_avx512vnni},
    {SLUICE_CPU_AMX | SLUICE_CPU_AVX512VNNI, sluice_linear_q8_init_amx},
#elif defined(__aarch64__)
    {SLUICE_CPU_NEON, sluice_linear_f32_init_neon},
    {SLUICE_CPU_NEON, sluice_quantize_q8_init_neon},
    {SLUICE_CPU_NEON, sluice_linear_q8_init_neon},
    {SLUICE_CPU_NEON, sluice_attention_q8_init_neon},
    {SLUICE_CPU_DOTPROD, sluice_linear_q8_init_dotprod},
    {SLUICE_CPU_DOTPROD, sluice_attention_q8_init_dotprod},
    {SLUICE_CPU_I8MM, sluice_attention_q8_init_i8mm},
    {SLUICE_CPU_I8MM, sluice_linear_q8_init_i8mm},
#endif
};

void sluice_kernels_select(uint32_t flags, sluice_kernels *table)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if ((flags & steps[i].flags) == steps[i].flags) steps[i].init(table);
}
