/* Chooses the table of row operations for a set of CPU flags. */
#include "kernels/ops.h"

#include "os/cpu.h"

const sluice_ops *sluice_ops_choose(uint32_t cpu_flags)
{
#if defined(__x86_64__)
    if (cpu_flags & SLUICE_CPU_AVX512) return &sluice_ops_avx512;
    if (cpu_flags & SLUICE_CPU_AVX2) return &sluice_ops_avx2;
#elif defined(__aarch64__)
    if (cpu_flags & SLUICE_CPU_NEON) return &sluice_ops_neon;
#endif
    (void)cpu_flags;
    return &sluice_ops_scalar;
}
