/* How often each cache policy hits on a recorded trace of routing, against slots, as CSV.
 *
 * Usage: bench_cache [TRACE]. Without one, bench/data/nano-routes.txt: fifteen answers of Nano, 150
 * tokens each. The first tenth of the steps only fills the cache. 'sluice bench cache' is the same
 * for people. */
#include <stdbool.h>
#include <stdio.h>

#include "sluice/routes.h"

static int die(const sluice_error *err)
{
    fprintf(stderr, "bench_cache: %s\n", err->detail);
    return 1;
}

int main(int argc, char **argv)
{
    static const double shares[] = {0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75};
    const char *path = argc > 1 ? argv[1] : SLUICE_SOURCE_DIR "/bench/data/nano-routes.txt";
    sluice_routes *routes;
    sluice_error err = {0};
    if (sluice_routes_load(path, &routes, &err) != SLUICE_OK) return die(&err);
    sluice_routes_info info = sluice_routes_describe(routes);
    printf("slots,share,policy,requests,hit_rate\n");
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        int32_t slots = (int32_t)(shares[i] * info.layers * info.experts);
        const char *const *name = sluice_cache_policies();
        for (bool oracle = false; !oracle;) {
            oracle = !*name;
            const char *policy = oracle ? "oracle" : *name++;
            int64_t requests, hits;
            if (sluice_routes_replay(routes, policy, slots, info.steps / 10, &requests, &hits,
                                     &err) != SLUICE_OK)
                return die(&err);
            printf("%d,%.4f,%s,%lld,%.4f\n", slots, shares[i], policy, (long long)requests,
                   (double)hits / (double)requests);
        }
    }
    sluice_routes_free(routes);
    return 0;
}
