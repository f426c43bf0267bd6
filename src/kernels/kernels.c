/* Which kernels run: plain C, then what each instruction set improves, low to high. */
#include "kernels/kernels.h"

#include "kernels/families.h"
#include "os/cpu.h"

void sluice_kernels_select(uint32_t flags, sluice_kernels *table)
{
    sluice_linear_f32_init_scalar(table);
#if defined(__x86_64__)
    if (flags & SLUICE_CPU_AVX2) sluice_linear_f32_init_avx2(table);
    if (flags & SLUICE_CPU_AVX512) sluice_linear_f32_init_avx512(table);
#elif defined(__aarch64__)
    if (flags & SLUICE_CPU_NEON) sluice_linear_f32_init_neon(table);
#else
    (void)flags;
#endif
}
