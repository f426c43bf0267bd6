/* What this build of the library is and which instruction sets it would use here. */
#include <stdio.h>

#include "os/cpu.h"
#include "sluice/sluice.h"

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

sluice_status sluice_cpu_describe(const char *cpu, char *words, size_t size, sluice_error *err)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } table[] = {
        {SLUICE_CPU_AVX2, "avx2"},
        {SLUICE_CPU_AVXVNNI, "avxvnni"},
        {SLUICE_CPU_AVX512, "avx512"},
        {SLUICE_CPU_AVX512VNNI, "avx512vnni"},
        {SLUICE_CPU_AVX512BF16, "avx512bf16"},
        {SLUICE_CPU_AMX, "amx"},
        {SLUICE_CPU_NEON, "neon"},
        {SLUICE_CPU_DOTPROD, "dotprod"},
        {SLUICE_CPU_I8MM, "i8mm"},
    };
    uint32_t flags = 0;
    SLUICE_TRY(sluice_cpu_flags_parse(cpu ? cpu : "auto", &flags, err));
    size_t used = 0;
    words[0] = '\0';
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!(flags & table[i].flag) || used >= size) continue;
        int n = snprintf(words + used, size - used, "%s%s", used ? " " : "", table[i].word);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used == 0) snprintf(words, size, "scalar");
    return SLUICE_OK;
}
