/* sluice bench cache: how often each cache policy would have hit on a recorded trace, and how often
 * anyone could have. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"
#include "sluice/routes.h"

typedef struct cache_args {
    bool csv, json;
    int32_t skip;
} cache_args;

static const cli_option options[] = {
    {"skip", 0, CLI_INTEGER, "PERCENT", offsetof(cache_args, skip), 0, 99,
     "Lines of the trace that only fill the cache (10)."},
    {"csv", 0, CLI_FLAG, NULL, offsetof(cache_args, csv), 0, 0, "Print the result as CSV."},
    {"json", 0, CLI_FLAG, NULL, offsetof(cache_args, json), 0, 0,
     "Print the result as one line of JSON."},
    {0}};
static const cli_group groups[] = {{"Options", options, 0}, {0}};

static const double shares[] = {1.0 / 16, 1.0 / 8, 3.0 / 16, 1.0 / 4, 3.0 / 8, 1.0 / 2, 3.0 / 4};
enum { SHARES = sizeof shares / sizeof *shares, POLICIES_MAX = 16 };

typedef struct table {
    const char *policies[POLICIES_MAX];
    int n;
    int32_t slots[SHARES];
    double rates[POLICIES_MAX][SHARES];
} table;

static int replay(const sluice_routes *routes, int32_t skip, table *t)
{
    sluice_routes_info info = sluice_routes_describe(routes);
    sluice_error err = {0};
    for (const char *const *name = sluice_cache_policies(); *name && t->n < POLICIES_MAX - 1;)
        t->policies[t->n++] = *name++;
    t->policies[t->n++] = "oracle";
    for (int s = 0; s < SHARES; s++) {
        int32_t slots = (int32_t)(shares[s] * info.layers * info.experts);
        t->slots[s] = slots > 0 ? slots : 1;
        for (int p = 0; p < t->n; p++) {
            int64_t requests, hits;
            int32_t first = (int32_t)((int64_t)info.steps * skip / 100);
            if (sluice_routes_replay(routes, t->policies[p], t->slots[s], first, &requests, &hits,
                                     &err) != SLUICE_OK)
                return cli_fail_error(&err);
            t->rates[p][s] = requests ? (double)hits / (double)requests : 0;
        }
    }
    return CLI_OK;
}

static int print_json(const sluice_routes_info *info, const table *t)
{
    json_t *rows = json_array();
    for (int p = 0; p < t->n; p++)
        for (int s = 0; s < SHARES; s++)
            json_array_append_new(rows,
                                  json_pack("{s:s, s:i, s:f}", "policy", t->policies[p], "slots",
                                            t->slots[s], "hit_rate", t->rates[p][s]));
    return cli_output_json(json_pack("{s:i, s:i, s:i, s:I, s:o}", "steps", info->steps, "layers",
                                     info->layers, "experts", info->experts, "requests",
                                     (json_int_t)info->requests, "results", rows));
}

static int print_csv(const table *t)
{
    puts("policy,slots,share,hit_rate");
    for (int p = 0; p < t->n; p++)
        for (int s = 0; s < SHARES; s++)
            printf("%s,%d,%.4f,%.4f\n", t->policies[p], t->slots[s], shares[s], t->rates[p][s]);
    return cli_output_finish();
}

static int print_table(const sluice_routes_info *info, const table *t)
{
    printf("%d steps, %d layers of %d experts, %lld requests; hit rate by slots\n\n%-8s",
           info->steps, info->layers, info->experts, (long long)info->requests, "");
    for (int s = 0; s < SHARES; s++)
        printf(" %8d", t->slots[s]);
    printf("\n%-8s", "");
    for (int s = 0; s < SHARES; s++)
        printf(" %7.1f%%", 100 * shares[s]);
    for (int p = 0; p < t->n; p++) {
        printf("\n%-8s", t->policies[p]);
        for (int s = 0; s < SHARES; s++)
            printf(" %7.1f%%", 100 * t->rates[p][s]);
    }
    putchar('\n');
    return cli_output_finish();
}

static int run(int argc, char **argv)
{
    cache_args args = {.skip = 10};
    const char *positional[CLI_POSITIONAL_MAX];
    sluice_error err = {0};
    sluice_routes *routes;
    table t = {.n = 0};
    int status = cli_options_parse(&cli_command_bench_cache, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (args.csv && args.json) return cli_usage("--csv and --json exclude each other");
    if (sluice_routes_load(positional[0], &routes, &err) != SLUICE_OK) return cli_fail_error(&err);
    sluice_routes_info info = sluice_routes_describe(routes);
    status = info.requests ? replay(routes, args.skip, &t)
                           : cli_fail("%s: the trace is empty", positional[0]);
    if (status == CLI_OK)
        status = args.json  ? print_json(&info, &t)
                 : args.csv ? print_csv(&t)
                            : print_table(&info, &t);
    sluice_routes_free(routes);
    return status;
}

const cli_command cli_command_bench_cache = {
    .name = "bench cache",
    .summary = "How often each cache policy would have hit",
    .usage = "TRACE [options]",
    .description = "Replays routing that 'sluice trace' recorded through every cache policy, "
                   "against the number of experts that the cache holds. The oracle knows the "
                   "future: no policy hits more often.",
    .examples = "sluice trace -p 'Once upon a time' -n 500 -o routes.txt\n"
                "sluice bench cache routes.txt",
    .positional_min = 1,
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
