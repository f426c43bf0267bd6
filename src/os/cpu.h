/* Which instruction sets this processor and this operating system offer, as bits.
 *
 * The kernel tables are chosen by these bits, which are a parameter everywhere: a test may ask for
 * any subset. Nothing else in the project asks the processor what it is. */
#ifndef SLUICE_OS_CPU_H
#define SLUICE_OS_CPU_H

#include <stdint.h>

#include "base/status.h"

enum {
    SLUICE_CPU_AVX2 = 1 << 0,       /* with FMA and F16C */
    SLUICE_CPU_AVXVNNI = 1 << 1,    /* vpdpbusd on 256 bits, VEX encoded */
    SLUICE_CPU_AVX512 = 1 << 2,     /* F, BW, VL, DQ */
    SLUICE_CPU_AVX512VNNI = 1 << 3, /* vpdpbusd on 512 bits */
    SLUICE_CPU_AVX512BF16 = 1 << 4,
    SLUICE_CPU_AMX = 1 << 5, /* tiles with int8 and bf16, and the kernel's permission to use them */
    SLUICE_CPU_NEON = 1 << 8,
    SLUICE_CPU_DOTPROD = 1 << 9,
    SLUICE_CPU_I8MM = 1 << 10,
};

/* What is there: the processor has it and the operating system saves its registers. For AMX this
 * asks the kernel for permission (once for the process). Any thread. */
uint32_t sluice_cpu_flags(void);

/* The subset of the detected flags that a name stands for: "auto" (everything), "scalar" (nothing),
 * "avx2", "avxvnni", "avx512" (with VNNI and BF16 where present), "amx", "neon", "dotprod", "i8mm";
 * each includes the smaller sets of its architecture. SLUICE_UNSUPPORTED where the machine lacks
 * it, SLUICE_USAGE for an unknown name. */
sluice_status sluice_cpu_flags_parse(const char *name, uint32_t *flags, sluice_error *err);

#endif
