/* How often each cache policy hits on a recorded trace of routing, against slots.
 *
 * Usage: bench_cache [TRACE]. TRACE has one line a step: the layer, then the experts wanted at
 * once. Without one, bench/data/nano-routes.txt: fifteen answers of Nano, 150 tokens each. The
 * first tenth of the steps only fills the cache. */
#include <stdio.h>
#include <stdlib.h>

#include "experts/policy.h"
#include "experts/replay.h"
#include "os/file.h"

typedef struct steps {
    int32_t n, n_layers, n_experts;
    int32_t *layers;
    int64_t *starts;
    int32_t *ids;
} steps;

static int die(const char *detail)
{
    fprintf(stderr, "bench_cache: %s\n", detail);
    return 1;
}

/* Numbers and line ends never outnumber the characters of the text. */
static int read_steps(const char *text, size_t bytes, steps *out)
{
    out->layers = malloc((bytes + 1) * sizeof *out->layers);
    out->starts = malloc((bytes + 2) * sizeof *out->starts);
    out->ids = malloc((bytes + 1) * sizeof *out->ids);
    if (!out->layers || !out->starts || !out->ids) return die("no memory");
    int64_t n_ids = 0;
    while (*text) {
        out->starts[out->n] = n_ids;
        for (int column = 0; *text && *text != '\n'; column++) {
            char *end;
            long value = strtol(text, &end, 10);
            if (end == text || value < 0 || value > 100000) return die("not a trace");
            int32_t *max = column ? &out->n_experts : &out->n_layers;
            if (value >= *max) *max = (int32_t)value + 1;
            if (column)
                out->ids[n_ids++] = (int32_t)value;
            else
                out->layers[out->n] = (int32_t)value;
            for (text = end; *text == ' ' || *text == '\r';)
                text++;
        }
        out->n++;
        text += *text == '\n';
    }
    out->starts[out->n] = n_ids;
    return 0;
}

static int replay_all(const steps *from, const sluice_trace *trace)
{
    static const double shares[] = {0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75};
    printf("slots,share,policy,requests,hit_rate\n");
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        int32_t slots = (int32_t)(shares[i] * trace->n_keys);
        const char *const *name = sluice_cache_policy_names();
        for (bool oracle = false; !oracle;) {
            oracle = !*name;
            const char *policy = oracle ? "oracle" : *name++;
            sluice_cache_replay_result result;
            sluice_error err;
            if (sluice_cache_replay(trace, policy, slots, from->n / 10, &result, &err))
                return die(err.detail);
            printf("%d,%.4f,%s,%llu,%.4f\n", slots, shares[i], policy,
                   (unsigned long long)result.requests,
                   (double)result.hits / (double)result.requests);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : SLUICE_SOURCE_DIR "/bench/data/nano-routes.txt";
    char *text;
    size_t bytes;
    sluice_error err;
    if (sluice_file_load(path, (size_t)1 << 30, &text, &bytes, &err)) return die(err.detail);
    steps got = {0};
    int status = read_steps(text, bytes, &got);
    if (!status) {
        for (int32_t step = 0; step < got.n; step++)
            for (int64_t i = got.starts[step]; i < got.starts[step + 1]; i++)
                got.ids[i] += got.layers[step] * got.n_experts;
        const sluice_trace trace = {got.n, got.n_layers * got.n_experts, got.starts, got.ids};
        status = replay_all(&got, &trace);
    }
    free(got.layers);
    free(got.starts);
    free(got.ids);
    free(text);
    return status;
}
