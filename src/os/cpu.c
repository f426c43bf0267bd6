/* Detection of instruction sets: cpuid and xgetbv on x86, the auxiliary vector on aarch64. */
#include "os/cpu.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_AVX 0x6u         /* xmm, ymm */
#define XCR0_AVX512 0xe6u     /* and opmask, upper zmm, zmm16-31 */
#define XCR0_AMX 0x60000u     /* tile configuration, tile data */
#define ARCH_REQ_XCOMP 0x1023 /* ARCH_REQ_XCOMP_PERM of asm/prctl.h, Linux 5.16 */
#define XFEATURE_TILEDATA 18

static uint32_t xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static uint32_t detect(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if ((c & (fma | osxsave | avx | f16c)) != (fma | osxsave | avx | f16c)) return 0;
    uint32_t saved = xcr0();
    if ((saved & XCR0_AVX) != XCR0_AVX) return 0;

    uint32_t a7, b7, c7, d7, a71 = 0, b71, c71, d71;
    if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return 0;
    if (a7 >= 1) __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
    if (!(b7 & 1u << 5)) return 0;
    uint32_t flags = SLUICE_CPU_AVX2;
    if (a71 & 1u << 4) flags |= SLUICE_CPU_AVXVNNI;

    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if ((saved & XCR0_AVX512) != XCR0_AVX512 || (b7 & avx512) != avx512) return flags;
    flags |= SLUICE_CPU_AVX512;
    if (c7 & 1u << 11) flags |= SLUICE_CPU_AVX512VNNI;
    if (a71 & 1u << 5) flags |= SLUICE_CPU_AVX512BF16;

    const uint32_t amx = 1u << 22 | 1u << 24 | 1u << 25; /* bf16, tile, int8 */
    if ((saved & XCR0_AMX) == XCR0_AMX && (d7 & amx) == amx &&
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP, XFEATURE_TILEDATA) == 0)
        flags |= SLUICE_CPU_AMX;
    return flags;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

static uint32_t detect(void)
{
    uint32_t flags = SLUICE_CPU_NEON; /* part of the base architecture */
    if (getauxval(AT_HWCAP) & 1u << 20) flags |= SLUICE_CPU_DOTPROD;
    if ((flags & SLUICE_CPU_DOTPROD) && (getauxval(AT_HWCAP2) & 1u << 13)) flags |= SLUICE_CPU_I8MM;
    return flags;
}

#else

static uint32_t detect(void)
{
    return 0;
}

#endif

uint32_t sluice_cpu_flags(void)
{
    static uint32_t known; /* 0 = not yet asked; asking twice is harmless */
    const uint32_t asked = 1u << 31;
    uint32_t flags = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (!flags) {
        flags = detect() | asked;
        __atomic_store_n(&known, flags, __ATOMIC_RELAXED);
    }
    return flags & ~asked;
}

static const struct {
    const char *name;
    uint32_t needs, takes; /* refused without all of needs; the result is what is there of takes */
} masks[] = {
    {"auto", 0, UINT32_MAX},
    {"scalar", 0, 0},
    {"avx2", SLUICE_CPU_AVX2, SLUICE_CPU_AVX2},
    {"avxvnni", SLUICE_CPU_AVXVNNI, SLUICE_CPU_AVX2 | SLUICE_CPU_AVXVNNI},
    {"avx512", SLUICE_CPU_AVX512,
     SLUICE_CPU_AVX2 | SLUICE_CPU_AVXVNNI | SLUICE_CPU_AVX512 | SLUICE_CPU_AVX512VNNI |
         SLUICE_CPU_AVX512BF16},
    {"amx", SLUICE_CPU_AMX, UINT32_MAX},
    {"neon", SLUICE_CPU_NEON, SLUICE_CPU_NEON},
    {"dotprod", SLUICE_CPU_DOTPROD, SLUICE_CPU_NEON | SLUICE_CPU_DOTPROD},
    {"i8mm", SLUICE_CPU_I8MM, UINT32_MAX},
};

sluice_status sluice_cpu_flags_parse(const char *name, uint32_t *flags, sluice_error *err)
{
    uint32_t have = sluice_cpu_flags();
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        if (strcmp(name, masks[i].name) != 0) continue;
        if ((have & masks[i].needs) != masks[i].needs)
            return sluice_fail(err, SLUICE_UNSUPPORTED,
                               "this machine does not have %s: use --cpu auto or scalar", name);
        *flags = have & masks[i].takes;
        return SLUICE_OK;
    }
    return sluice_fail(err, SLUICE_USAGE,
                       "unknown instruction set '%s': scalar, avx2, avxvnni, avx512, amx, neon, "
                       "dotprod, i8mm or auto",
                       name);
}
