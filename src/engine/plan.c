/* Plans (sluice/plan.h): what the model is, what the machine does, and what follows. */
#include "sluice/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "engine/plan_probe.h"
#include "engine/sizes.h"
#include "experts/experts.h"
#include "format/geometry.h"
#include "os/file.h"
#include "os/topology.h"
#include "sluice/convert.h"
#include "sluice/sluice.h"

#define PROMPT_DEFAULT 512
#define MEMORY_SECONDS 0.3
#define PAGE_BYTES 4096
#define LINE_BYTES 64

static const int32_t ks[] = {10, 8, 6, 4};
static const int32_t bits[] = {4, 3, 2};

/* What the plan is about. */
typedef struct subject {
    const sluice_plan_options *options;
    sluice_config config;
    char experts[24], trunk[24], folder[4096];
    bool converted;
    int threads;
} subject;

sluice_plan_options sluice_plan_options_default(void)
{
    return (sluice_plan_options){.exact = sluice_engine_options_default().exact};
}

/* The first of the formats that an inspection lists. */
static void take_format(const char *given, const char *listed, const char *otherwise, char *format)
{
    if (given)
        snprintf(format, 24, "%s", given);
    else
        snprintf(format, 24, "%.*s", (int)strcspn(listed, " ,"), listed);
    if (!format[0]) snprintf(format, 24, "%s", otherwise);
}

static sluice_status load_model(subject *s, const char *dir, sluice_error *err)
{
    sluice_inspection inspection;
    SLUICE_TRY(sluice_inspect(dir, &inspection, err));
    char *path = sluice_file_join(dir, "config.json");
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = sluice_config_load(path, &s->config, err);
    free(path);
    SLUICE_TRY(status);
    s->config.mtp_layers = 0;
    take_format(s->options->experts, inspection.expert_formats, "q4", s->experts);
    take_format(s->options->trunk, inspection.trunk_formats, "q8", s->trunk);
    s->converted =
        inspection.kind == SLUICE_MODEL_CONTAINER && !s->options->experts && !s->options->trunk;
    const char *slash = strrchr(dir, '/');
    snprintf(s->folder, sizeof s->folder, "%.*s", slash ? (int)(slash - dir) : 1,
             slash ? dir : ".");
    if (!s->folder[0]) strcpy(s->folder, "/");
    return SLUICE_OK;
}

static sluice_status load_subject(subject *s, sluice_error *err)
{
    const sluice_plan_options *options = s->options;
    sluice_topology topology;
    sluice_topology_get("", &topology);
    s->threads = options->threads > 0 ? options->threads : topology.threads;
    strcpy(s->folder, ".");
    if (!options->model && !options->geometry)
        return sluice_fail(err, SLUICE_USAGE, "a model or a geometry is needed");
    if (options->model) {
        SLUICE_TRY(load_model(s, options->model, err));
    } else {
        SLUICE_TRY(sluice_geometry_load(options->geometry, options->layers, options->vocab,
                                        &s->config, err));
        take_format(options->experts, "", "q4", s->experts);
        take_format(options->trunk, "", "q8", s->trunk);
    }
    if (options->disk) snprintf(s->folder, sizeof s->folder, "%s", options->disk);
    return SLUICE_OK;
}

/* What of a model that is not there yet would take memory. */
static sluice_sizes_model needs_of(const sluice_blueprint *blueprint)
{
    sluice_sizes_model needs = {.config = &blueprint->config,
                                .record_bytes = blueprint->record.bytes,
                                .bank_bytes =
                                    blueprint->layer_bytes * (uint64_t)blueprint->config.layers};
    for (int32_t i = 0; i < blueprint->count; i++) {
        const sluice_trunk_tensor *tensor = &blueprint->tensors[i];
        bool table = strcmp(tensor->name, "embed_tokens.weight") == 0;
        if (table) {
            needs.embedding = tensor->format;
            needs.embedding_on_disk =
                sluice_sizes_embedding_on_disk(&blueprint->config, tensor->bytes);
        }
        if (table && needs.embedding_on_disk) continue;
        uint64_t unit =
            tensor->packed ? PAGE_BYTES : LINE_BYTES; /* as model/trunk.c lays them out */
        needs.trunk_bytes += (tensor->bytes + unit - 1) / unit * unit;
    }
    return needs;
}

/* How the budget is shared out; false if it is too small. */
static sluice_status share_memory(const subject *s, const sluice_blueprint *blueprint,
                                  sluice_sizes *sizes, bool *fits, sluice_error *err)
{
    sluice_engine_options engine = sluice_engine_options_default();
    engine.threads = s->threads;
    engine.exact = s->options->exact;
    engine.levers.kv = s->options->kv;
    engine.context = s->options->context;
    engine.chunk = s->options->chunk;
    uint64_t memory = s->options->memory_bytes;
    if (!memory) SLUICE_TRY(sluice_sizes_machine(&memory, err));
    const sluice_sizes_model needs = needs_of(blueprint);
    sluice_status status = sluice_sizes_plan(&needs, &engine, memory, sizes, err);
    *fits = status == SLUICE_OK;
    return status == SLUICE_NO_MEMORY ? SLUICE_OK : status;
}

static void add_rate(sluice_plan *plan, const char *format, const sluice_blueprint *blueprint,
                     const sluice_plan_work *work, int32_t k, bool fits)
{
    sluice_plan_rate *rate = &plan->rates[plan->n_rates++];
    *rate = (sluice_plan_rate){.bits = blueprint->expert_format.bits,
                               .k = k,
                               .record_bytes = blueprint->record.bytes,
                               .disk_bytes = blueprint->bytes,
                               .cache_bytes = (uint64_t)work->cache_bytes,
                               .expert_seconds = work->points[0].expert_seconds};
    snprintf(rate->format, sizeof rate->format, "%s", format);
    if (!fits) return;
    rate->hits_uniform = sluice_plan_hits_uniform(work);
    rate->hits_recency = sluice_plan_hits_recency(work);
    rate->rate_uniform = 1 / sluice_plan_decode(work, k, rate->hits_uniform, &rate->disk_bound);
    rate->rate_recency = 1 / sluice_plan_decode(work, k, rate->hits_recency, NULL);
}

static void add_rates(sluice_plan *plan, const char *format, const sluice_blueprint *blueprint,
                      const sluice_plan_work *work, bool fits)
{
    add_rate(plan, format, blueprint, work, plan->top_k, fits);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++)
        if (ks[i] < plan->top_k) add_rate(plan, format, blueprint, work, ks[i], fits);
}

/* As the cache has it: three quarters of its slots, and so many bytes (experts/experts.h). */
static double sweep_records(double cache_bytes, double record_bytes)
{
    double slots = cache_bytes * 3 / 4 / record_bytes;
    double most = (double)SLUICE_EXPERTS_SWEEP_BYTES / record_bytes;
    if (most > SLUICE_EXPERTS_SWEEP_MAX) most = SLUICE_EXPERTS_SWEEP_MAX;
    return slots < most ? slots : most;
}

static void fill_work(const subject *s, const sluice_blueprint *blueprint,
                      const sluice_sizes *sizes, const sluice_plan *plan, sluice_plan_work *work)
{
    work->layers = s->config.layers;
    work->experts = s->config.experts;
    work->top_k = s->config.top_k;
    work->record_bytes = (double)blueprint->record.bytes;
    work->bank_bytes = (double)sizes->bank_bytes;
    work->cache_bytes = (double)sizes->cache_bytes;
    work->guesses = sizes->lookahead;
    work->sweep_records =
        sizes->lookahead ? sweep_records(work->cache_bytes, work->record_bytes) : 0;
    work->precision = 0;
    work->disk_speed = plan->disk.bytes_per_second;
    work->stream_speed = plan->stream_speed;
    work->slowdown = plan->slowdown;
}

/* How much faster the token comes with one thing doubled. */
static double improve(const sluice_plan_work *work, sluice_plan_help help)
{
    sluice_plan_work better = *work;
    if (help == SLUICE_PLAN_HELP_DISK) better.stream_speed *= 2;
    if (help == SLUICE_PLAN_HELP_MEMORY) better.cache_bytes *= 2;
    if (help == SLUICE_PLAN_HELP_CORES) {
        better.points[0].trunk_seconds /= 2;
        better.points[0].expert_seconds /= 2;
        better.head_seconds /= 2;
    }
    double k = work->top_k;
    return sluice_plan_decode(work, k, sluice_plan_hits_uniform(work), NULL) /
           sluice_plan_decode(&better, k, sluice_plan_hits_uniform(&better), NULL);
}

static void describe(const subject *s, const sluice_blueprint *blueprint, sluice_plan *plan)
{
    const sluice_config *config = &s->config;
    plan->threads = s->threads;
    plan->layers = config->layers;
    plan->hidden = config->hidden;
    plan->vocab = config->vocab;
    plan->experts = config->experts;
    plan->top_k = config->top_k;
    for (int32_t i = 0; i < config->layers; i++)
        plan->attention_layers += config->mixer[i] == SLUICE_MIXER_ATTENTION;
    sluice_weight_format_name(blueprint->expert_format, plan->expert_format);
    snprintf(plan->trunk_format, sizeof plan->trunk_format, "%s", s->trunk);
    plan->weights = 3 * (uint64_t)config->layers * (uint64_t)config->experts *
                    (uint64_t)config->expert_width * (uint64_t)config->hidden;
    for (int32_t i = 0; i < blueprint->count; i++)
        plan->weights +=
            (uint64_t)blueprint->tensors[i].rows * (uint64_t)blueprint->tensors[i].cols;
    plan->disk_bytes = blueprint->bytes;
    plan->on_disk = s->converted;
    plan->prompt = s->options->prompt > 0 ? s->options->prompt : PROMPT_DEFAULT;
}

static void describe_memory(const sluice_sizes *sizes, bool fits, sluice_plan *plan)
{
    plan->fits = fits;
    plan->memory_bytes = sizes->memory_bytes;
    plan->floor_bytes = sluice_sizes_floor(sizes);
    plan->trunk_bytes = sizes->trunk_bytes;
    plan->state_bytes = (uint64_t)sizes->sessions * sizes->state_bytes;
    plan->scratch_bytes = sizes->scratch_bytes;
    plan->cache_bytes = sizes->cache_bytes;
    plan->bank_bytes = sizes->bank_bytes;
    plan->context = sizes->context;
    plan->chunk = sizes->chunk;
}

/* The model as it is: everything is measured. */
static sluice_status plan_itself(const subject *s, sluice_plan *plan, sluice_error *err)
{
    sluice_blueprint blueprint;
    sluice_sizes sizes;
    sluice_plan_work work = {0};
    bool fits;
    SLUICE_TRY(sluice_blueprint_new(&s->config, s->experts, s->trunk, &blueprint, err));
    describe(s, &blueprint, plan);
    sluice_status status = share_memory(s, &blueprint, &sizes, &fits, err);
    const sluice_plan_subject probe = {.blueprint = &blueprint,
                                       .experts = s->experts,
                                       .trunk = s->trunk,
                                       .folder = s->folder,
                                       .container = s->converted ? s->options->model : NULL,
                                       .whole = true};
    if (status == SLUICE_OK)
        status = sluice_plan_probe(s->options, &probe, &work, &plan->disk, err);
    if (status == SLUICE_OK) {
        describe_memory(&sizes, fits, plan);
        plan->stream_speed = work.stream_speed;
        plan->slowdown = work.slowdown;
        fill_work(s, &blueprint, &sizes, plan, &work);
        plan->trunk_seconds = work.points[0].trunk_seconds;
        plan->head_seconds = work.head_seconds;
        add_rates(plan, plan->expert_format, &blueprint, &work, fits);
        if (fits) plan->prompt_seconds = sluice_plan_prefill(&work, plan->prompt, plan->chunk);
        for (int i = 0; fits && i < SLUICE_PLAN_HELPS; i++)
            plan->help[i] = improve(&work, (sluice_plan_help)i);
    }
    sluice_blueprint_free(&blueprint);
    return status;
}

/* The same with experts of other bits: of the kernels, only theirs is measured again. */
static sluice_status plan_bits(const subject *s, int32_t expert_bits, sluice_plan *plan,
                               sluice_error *err)
{
    char format[24];
    sluice_blueprint blueprint;
    sluice_sizes sizes;
    sluice_plan_work work = {0};
    bool fits;
    snprintf(format, sizeof format, "q%d/64/bf16", expert_bits);
    if (strcmp(format, plan->expert_format) == 0) return SLUICE_OK;
    SLUICE_TRY(sluice_blueprint_new(&s->config, format, s->trunk, &blueprint, err));
    sluice_status status = share_memory(s, &blueprint, &sizes, &fits, err);
    const sluice_plan_subject probe = {
        .blueprint = &blueprint, .experts = format, .trunk = s->trunk, .folder = s->folder};
    if (status == SLUICE_OK)
        status = sluice_plan_probe(s->options, &probe, &work, &plan->disk, err);
    if (status == SLUICE_OK) {
        fill_work(s, &blueprint, &sizes, plan, &work);
        work.points[0].trunk_seconds = plan->trunk_seconds;
        work.head_seconds = plan->head_seconds;
        add_rates(plan, format, &blueprint, &work, fits);
    }
    sluice_blueprint_free(&blueprint);
    return status;
}

sluice_status sluice_plan_make(const sluice_plan_options *options, sluice_plan *plan,
                               sluice_error *err)
{
    subject s = {.options = options};
    uint64_t start = sluice_clock_us();
    *plan = (sluice_plan){0};
    SLUICE_TRY(load_subject(&s, err));
    SLUICE_TRY(sluice_measure_memory(s.threads, MEMORY_SECONDS, &plan->memory_speed, err));
    SLUICE_TRY(plan_itself(&s, plan, err));
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        SLUICE_TRY(plan_bits(&s, bits[i], plan, err));
    plan->seconds = (double)(sluice_clock_us() - start) * 1e-6;
    return sluice_file_free_space(s.folder, &plan->disk_free_bytes, err);
}
