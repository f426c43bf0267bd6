/* The kernel checker: every kernel of a table against plain C bit for bit, and against the truth in
 * double within a stated tolerance.
 *
 * Inputs come from a seed and a failure prints it. Buffers end at an unmapped page and begin after
 * a guard band (guard.c), so that a kernel that reads or writes outside what it was given is
 * caught. One file a family of kernels; main.c lists them. Needs no test library, to run under an
 * emulator. */
#ifndef SLUICE_TESTS_CHECKER_H
#define SLUICE_TESTS_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "kernels/kernels.h"

typedef struct check {
    uint32_t flags; /* the instruction sets under test (os/cpu.h) */
    sluice_kernels subject, plain;
    sluice_rng rng;
    uint64_t seed;
    const char *family;
    const char *broken; /* the defect planted on purpose, or NULL */
    bool quiet;         /* count failures, print none */
    int failures;
    long cases;
} check;

typedef struct check_family {
    const char *name;
    void (*run)(check *c);                      /* until check_enough */
    void (*bench)(const check *c, int threads); /* or NULL */
    /* Whether both checks would run the same kernels. */
    bool (*same)(const check *a, const check *b);
    /* Plants a defect in c->subject; false if the family has no defect of that name. */
    bool (*plant)(check *c, const char *defect);
    const char *const *defects; /* names, NULL at the end; or NULL */
} check_family;

extern const check_family check_linear_f32, check_unpack_f32, check_quantize_q8, check_linear_q8;
extern const check_family check_attention_q8, check_ops_rows, check_ops_mixers;

/* Counts a failure of the family and, a few times, prints it with the seed. */
__attribute__((format(printf, 2, 3))) void check_fail(check *c, const char *format, ...);

/* Whether the check may end: a planted defect was noticed. */
bool check_enough(const check *c);

/* Random numbers: [0, n), one of two ends included, normal, and values that kernels get wrong
 * (zeros of both signs, denormals, huge and tiny ones) with one in `rare`. */
uint32_t check_below(check *c, uint32_t n);
int32_t check_between(check *c, int32_t low, int32_t high);
float check_normal(check *c);
float check_extreme(check *c, uint32_t rare);

/* Equal in bits, or both NaN. */
bool check_same(float a, float b);

/* Memory of bytes that ends at an unmapped page; what lies before it in its page is a guard band.
 * Filled with a pattern that no computation gives. */
typedef struct check_buffer {
    unsigned char *pages;
    size_t mapped, bytes;
    void *data;
} check_buffer;

check_buffer check_buffer_new(size_t bytes);
/* Reports a damaged guard band as a failure, and unmaps. */
void check_buffer_free(check *c, check_buffer *buffer, const char *what);
/* Whether n floats still hold the pattern of a new buffer. */
bool check_untouched(const float *at, size_t n);

/* Runs fn; a touch of memory that is not there makes it return early and counts as a failure. */
void check_guarded(check *c, void (*fn)(check *c, void *context), void *context, const char *what);

/* Limits of this machine, for benchmarks, measured when asked: bytes per second that `threads`
 * threads read from memory, seconds, cycles per second of one core, and products per cycle of a
 * chain-free stream of f32 fma or int8 dot instructions of the best set in flags (0: not known). */
double check_limit_read(int threads);
double check_seconds(void);
double check_limit_clock(void);
double check_limit_fma(uint32_t flags);
double check_limit_dot(uint32_t flags);

/* Runs fn(context, worker) on threads at once until at least `seconds` have passed, and returns the
 * seconds of the quickest round (others use the machine too). */
double check_time(int threads, double seconds, void (*fn)(void *context, int worker),
                  void *context);

#endif
