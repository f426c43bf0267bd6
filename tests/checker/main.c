/* kernel_check [--cpu NAME] [--seed N] [--family NAME] [--break DEFECT] [--self-test] [--new]
 * [--bench [--threads N]] [--list]: see checker.h. --new leaves out families whose kernels a
 * smaller instruction set of this machine has, whose own check runs them. Status 0: all kernels
 * right; 1: some not; 2: wrong usage; 77: the machine lacks the instruction set. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/checker.h"
#include "os/cpu.h"

static const check_family *const families[] = {
    &check_linear_f32,   &check_unpack_f32, &check_quantize_q8, &check_linear_q8,
    &check_attention_q8, &check_ops_rows,   &check_ops_mixers};
#define FAMILIES (sizeof families / sizeof families[0])
#define PRINTED_MAX 8

typedef struct options {
    const char *cpu, *family, *defect;
    uint64_t seed;
    int threads;
    bool bench, list, self_test, new;
} options;

void check_fail(check *c, const char *format, ...)
{
    if (c->failures++ >= PRINTED_MAX || c->quiet) return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "kernel_check: %s (seed %llu): ", c->family, (unsigned long long)c->seed);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool check_enough(const check *c)
{
    return c->quiet && c->failures > 0;
}

static check check_begin(const options *o, uint32_t flags, const check_family *family)
{
    check c = {.flags = flags, .seed = o->seed, .family = family->name};
    sluice_kernels_select(flags, &c.subject);
    sluice_kernels_select(0, &c.plain);
    sluice_rng_seed(&c.rng, o->seed);
    return c;
}

/* The smallest instruction set that has the family's kernels, if it is smaller than the one under
 * test; else NULL. */
static const char *smaller(const options *o, const check *c, const check_family *family)
{
    static const char *const rising[] = {"scalar", "avx2", "avxvnni", "avx512",
                                         "amx",    "neon", "dotprod", "i8mm"};
    for (size_t i = 0; i < sizeof rising / sizeof *rising && strcmp(rising[i], o->cpu) != 0; i++) {
        uint32_t flags;
        if (sluice_cpu_flags_parse(rising[i], &flags, NULL) != SLUICE_OK) continue;
        const check other = check_begin(o, flags, family);
        if (family->same(c, &other)) return rising[i];
    }
    return NULL;
}

static int run_family(const options *o, uint32_t flags, const check_family *family)
{
    check c = check_begin(o, flags, family);
    const char *covered = o->new ? smaller(o, &c, family) : NULL;
    if (covered) {
        printf("%-14s %-8s has the kernels of %s\n", family->name, o->cpu, covered);
        return 0;
    }
    if (o->defect && !family->plant(&c, o->defect)) return 0;
    double start = check_seconds();
    family->run(&c);
    printf("%-14s %-8s %7ld cases  %5.2f s  %s\n", family->name, o->cpu, c.cases,
           check_seconds() - start, c.failures ? "FAILED" : "ok");
    return c.failures;
}

/* Plants every defect in turn: a checker that does not notice one is itself broken. */
static int self_test(const options *o, uint32_t flags, const check_family *family)
{
    int missed = 0;
    for (const char *const *defect = family->defects; defect && *defect; defect++) {
        check c = check_begin(o, flags, family);
        c.quiet = true;
        family->plant(&c, *defect);
        family->run(&c);
        printf("%-14s %-8s planted %-24s %s\n", family->name, o->cpu, *defect,
               c.failures ? "noticed" : "MISSED");
        missed += !c.failures;
    }
    return missed;
}

static void list(const check_family *family)
{
    printf("%s", family->name);
    for (const char *const *defect = family->defects; defect && *defect; defect++)
        printf(" %s", *defect);
    putchar('\n');
}

static bool parse(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--bench"))
            o->bench = true;
        else if (!strcmp(argv[i], "--list"))
            o->list = true;
        else if (!strcmp(argv[i], "--self-test"))
            o->self_test = true;
        else if (!strcmp(argv[i], "--new"))
            o->new = true;
        else if (!value)
            return false;
        else if (!strcmp(argv[i], "--cpu"))
            o->cpu = argv[++i];
        else if (!strcmp(argv[i], "--family"))
            o->family = argv[++i];
        else if (!strcmp(argv[i], "--break"))
            o->defect = argv[++i];
        else if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--threads"))
            o->threads = atoi(argv[++i]);
        else
            return false;
    }
    return o->threads >= 1 && o->threads <= 64;
}

static bool defect_exists(const char *name)
{
    for (size_t f = 0; f < FAMILIES; f++)
        for (const char *const *defect = families[f]->defects; defect && *defect; defect++)
            if (!strcmp(*defect, name)) return true;
    return false;
}

int main(int argc, char **argv)
{
    options o = {.cpu = "auto", .seed = 1, .threads = 1};
    if (!parse(argc, argv, &o) || (o.defect && !defect_exists(o.defect))) {
        fprintf(stderr,
                "usage: kernel_check [--cpu NAME] [--seed N] [--family NAME] "
                "[--break DEFECT] [--self-test] [--new] [--bench [--threads N]] [--list]\n");
        return 2;
    }
    uint32_t flags = 0;
    sluice_error err;
    sluice_status status = sluice_cpu_flags_parse(o.cpu, &flags, &err);
    if (status != SLUICE_OK) {
        fprintf(stderr, "kernel_check: %s\n", err.detail);
        return status == SLUICE_UNSUPPORTED ? 77 : 2;
    }
    int wrong = 0;
    for (size_t f = 0; f < FAMILIES; f++) {
        const check_family *family = families[f];
        if (o.family && strcmp(o.family, family->name) != 0) continue;
        check c = check_begin(&o, flags, family);
        if (o.list)
            list(family);
        else if (o.bench && family->bench)
            family->bench(&c, o.threads);
        else if (o.self_test)
            wrong += self_test(&o, flags, family);
        else if (!o.bench)
            wrong += run_family(&o, flags, family);
    }
    return wrong ? 1 : 0;
}
