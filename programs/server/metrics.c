/* /metrics: the server's and the engine's counters for Prometheus. */
#include "server/routes.h"
#include "server/scheduler.h"

static void metric(server_buffer *out, const char *name, const char *type, const char *help,
                   double value)
{
    server_buffer_printf(out, "# HELP sluice_%s %s\n# TYPE sluice_%s %s\nsluice_%s %.17g\n", name,
                         help, name, type, name, value);
}

static void write_server(server_buffer *out, server *s, const server_scheduler_state *state)
{
    server_counters *c = &s->counters;
    metric(out, "requests_total", "counter", "HTTP requests.", (double)atomic_load(&c->requests));
    metric(out, "client_errors_total", "counter", "Requests answered with 4xx.",
           (double)atomic_load(&c->errors_client));
    metric(out, "server_errors_total", "counter", "Requests answered with 5xx.",
           (double)atomic_load(&c->errors_server));
    metric(out, "cancelled_total", "counter", "Answers whose client went away.",
           (double)atomic_load(&c->cancelled));
    metric(out, "prompt_tokens_total", "counter", "Tokens of prompts.",
           (double)atomic_load(&c->prompt_tokens));
    metric(out, "cached_tokens_total", "counter", "Of them, tokens whose state was kept.",
           (double)atomic_load(&c->cached_tokens));
    metric(out, "answer_tokens_total", "counter", "Tokens of answers.",
           (double)atomic_load(&c->answer_tokens));
    server_histogram_write(&c->queued, "queue_seconds", "Time that requests waited for a place.",
                           out);
    server_histogram_write(&c->first_token, "first_token_seconds",
                           "Time from a request's arrival to its answer's first token.", out);
    server_histogram_write(&c->answered, "answer_seconds",
                           "Time from a request's arrival to the end of its answer.", out);
    metric(out, "sequences_active", "gauge", "Requests in the running batch.", state->active);
    metric(out, "sequences_prefilling", "gauge", "Of them, those whose prompt is being read.",
           state->prefilling);
    metric(out, "queue_length", "gauge", "Requests that wait for a place.", state->queued);
    metric(out, "steps_total", "counter", "Steps of the engine.", (double)state->steps);
    metric(out, "rows_total", "counter", "Tokens that went through all steps.",
           (double)state->rows);
    metric(out, "kept_states", "gauge", "States kept in memory.", (double)state->keep.entries);
    metric(out, "kept_bytes", "gauge", "What they take.", (double)state->keep.bytes);
    metric(out, "kept_hits_total", "counter", "Prompts that began with a kept state.",
           (double)state->keep.hits);
    metric(out, "kept_file_hits_total", "counter", "Of them, with one that was read from a file.",
           (double)state->keep.file_hits);
    metric(out, "kept_evictions_total", "counter", "States that made room.",
           (double)state->keep.evictions);
}

static void write_store(server_buffer *out, const server_store_stats *files)
{
    metric(out, "state_files", "gauge", "Files of --state.", (double)files->files);
    metric(out, "state_file_bytes", "gauge", "What they take.", (double)files->bytes);
    metric(out, "state_files_written_total", "counter", "Files written.", (double)files->written);
    metric(out, "state_files_evicted_total", "counter", "Files that made room.",
           (double)files->evicted);
    metric(out, "state_files_ignored_total", "counter", "Files that were of no use.",
           (double)files->ignored);
    metric(out, "state_file_errors_total", "counter", "Files that could not be written.",
           (double)files->errors);
}

static void write_engine(server_buffer *out, const sluice_stats *e)
{
    metric(out, "expert_requests_total", "counter", "Experts asked of the cache.",
           (double)e->expert_requests);
    metric(out, "expert_hits_total", "counter", "Of them, found in memory.",
           (double)e->expert_hits);
    metric(out, "expert_hit_rate", "gauge", "Share of experts found in memory, since the start.",
           e->expert_requests ? (double)e->expert_hits / (double)e->expert_requests : 0);
    metric(out, "expert_bytes_read_total", "counter", "Bytes of experts read from disk.",
           (double)e->expert_bytes_read);
    metric(out, "expert_wait_seconds_total", "counter", "Time spent waiting for the disk.",
           (double)e->expert_wait_us / 1e6);
    metric(out, "trunk_seconds_total", "counter", "Time in mixers, routers and shared experts.",
           (double)e->trunk_us / 1e6);
    metric(out, "expert_seconds_total", "counter", "Time in routed experts.",
           (double)e->expert_us / 1e6);
    metric(out, "head_seconds_total", "counter", "Time in the output head.",
           (double)e->head_us / 1e6);
    metric(out, "memory_bytes", "gauge", "Memory charged to the budget.", (double)e->memory_bytes);
    metric(out, "memory_peak_bytes", "gauge", "The most that it has been.",
           (double)e->memory_peak_bytes);
    metric(out, "rss_peak_bytes", "gauge", "The most memory of the process.",
           (double)e->rss_peak_bytes);
}

void server_metrics(server_request *request)
{
    server *s = server_request_server(request);
    server_scheduler_state state;
    server_buffer out = {0};
    server_scheduler_look(s->scheduler, &state);
    write_server(&out, s, &state);
    server_store_stats files = server_store_stats_get(s->store);
    if (s->store) write_store(&out, &files);
    write_engine(&out, &state.engine);
    server_answer_text(request, "text/plain; version=0.0.4", out.bytes ? out.bytes : "",
                       out.length);
    server_buffer_free(&out);
}
