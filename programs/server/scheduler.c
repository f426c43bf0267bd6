/* The scheduler; see scheduler.h. */
#include "server/scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/keep_files.h"
#include "server/sequence.h"

/* While nothing runs: for requests that come at the same moment, and for those of them that are
 * still being read. */
enum { START_WAIT_MIN_US = 1000, START_WAIT_US = 10000 };

struct server_scheduler {
    server *server;
    pthread_t thread;

    pthread_mutex_t mutex; /* over all below up to the blank line */
    pthread_cond_t wanted;
    server_job *first, **last; /* the queue, oldest first */
    int32_t expected;          /* requests that are being read */
    server_scheduler_state state;
    bool stopping;

    /* The engine thread's. */
    server_sequence *sequences; /* [parallel] */
    int32_t parallel;
    server_keep *keep;
    float *scratch;            /* [vocab] */
    sluice_input *inputs;      /* [parallel], of the step */
    server_sequence **running; /* [parallel]: whose they are */
};

bool server_scheduler_submit(server_scheduler *scheduler, server_job *job, server_error *err)
{
    const server_options *options = &scheduler->server->options;
    bool accepted = false;
    pthread_mutex_lock(&scheduler->mutex);
    if (scheduler->state.draining) {
        server_error_set(err, 503, "shutting_down", NULL, "the server is shutting down");
    } else if (scheduler->state.queued >= options->queue_max) {
        server_error_set(err, 503, "overloaded", NULL, "%d requests are waiting already",
                         scheduler->state.queued);
    } else {
        server_job_share(job);
        job->next = NULL;
        *scheduler->last = job;
        scheduler->last = &job->next;
        scheduler->state.queued++;
        pthread_cond_signal(&scheduler->wanted);
        accepted = true;
    }
    pthread_mutex_unlock(&scheduler->mutex);
    return accepted;
}

void server_scheduler_expect(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->expected++;
    pthread_mutex_unlock(&scheduler->mutex);
}

void server_scheduler_came(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    if (--scheduler->expected == 0) pthread_cond_signal(&scheduler->wanted);
    pthread_mutex_unlock(&scheduler->mutex);
}

static int32_t active_of(const server_scheduler *scheduler, uint64_t client)
{
    int32_t count = 0;
    for (int32_t i = 0; i < scheduler->parallel; i++) {
        const server_job *job = scheduler->sequences[i].job;
        if (job && job->request.client == client) count++;
    }
    return count;
}

/* Takes the next job out of the queue; NULL: it is empty. Under the lock. */
static server_job *next_job(server_scheduler *scheduler)
{
    server_job **best = NULL;
    int32_t fewest = INT32_MAX;
    for (server_job **at = &scheduler->first; *at; at = &(*at)->next) {
        int32_t active = active_of(scheduler, (*at)->request.client);
        if (active >= fewest) continue;
        fewest = active;
        best = at;
    }
    if (!best) return NULL;
    server_job *job = *best;
    *best = job->next;
    if (!job->next) scheduler->last = best;
    scheduler->state.queued--;
    return job;
}

static bool is_late(const server_scheduler *scheduler, const server_job *job)
{
    int32_t limit_s = scheduler->server->options.time_limit_s;
    return limit_s && server_job_age_us(job) >= (uint64_t)limit_s * 1000000u;
}

/* Jobs that waited too long, or whose clients went away meanwhile. Under the lock. */
static void drop_waiting(server_scheduler *scheduler)
{
    server_job **at = &scheduler->first;
    while (*at) {
        server_job *job = *at;
        bool cancelled = atomic_load(&job->cancelled) || scheduler->stopping;
        if (!cancelled && !is_late(scheduler, job)) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        scheduler->state.queued--;
        if (!cancelled) server_job_late(job, scheduler->server->options.time_limit_s);
        server_job_end(job, cancelled ? SERVER_FINISH_CANCELLED : SERVER_FINISH_FAILED, "", 0);
        server_job_release(job);
    }
    scheduler->last = at;
}

static int32_t count_active(const server_scheduler *scheduler)
{
    int32_t active = 0;
    for (int32_t i = 0; i < scheduler->parallel; i++)
        active += scheduler->sequences[i].job != NULL;
    return active;
}

static server_sequence *free_place(server_scheduler *scheduler)
{
    for (int32_t i = 0; i < scheduler->parallel; i++)
        if (!scheduler->sequences[i].job) return &scheduler->sequences[i];
    return NULL;
}

/* Whose client went away, or whose time is over: what there is of an answer is the answer then. */
static void leave(server_scheduler *scheduler, bool all)
{
    for (int32_t i = 0; i < scheduler->parallel; i++) {
        server_sequence *sequence = &scheduler->sequences[i];
        server_job *job = sequence->job;
        if (!job) continue;
        if (all || atomic_load(&job->cancelled)) {
            server_sequence_end(sequence, SERVER_FINISH_CANCELLED, scheduler->keep, NULL);
        } else if (is_late(scheduler, job) && job->count > 0) {
            server_sequence_end(sequence, SERVER_FINISH_LENGTH, scheduler->keep, NULL);
        } else if (is_late(scheduler, job)) {
            server_job_late(job, scheduler->server->options.time_limit_s);
            server_sequence_end(sequence, SERVER_FINISH_FAILED, scheduler->keep, NULL);
        }
    }
}

static struct timespec from_now(long us)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += us * 1000;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

/* A prompt that starts alone keeps the others waiting for a whole step: gives those that come with
 * it the moment they need. A client that is slow costs no more than that. Under the lock. */
static void await_company(server_scheduler *scheduler)
{
    const struct timespec least = from_now(START_WAIT_MIN_US), most = from_now(START_WAIT_US);
    bool early = true;
    while ((early || scheduler->expected > 0) && scheduler->state.queued < scheduler->parallel &&
           !scheduler->stopping) {
        const struct timespec *until = early ? &least : &most;
        if (pthread_cond_timedwait(&scheduler->wanted, &scheduler->mutex, until) == 0) continue;
        if (!early) return;
        early = false;
    }
}

/* Fills the free places; waits while there is nothing to do. False: stop. */
static bool admit(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    for (;;) {
        leave(scheduler, scheduler->stopping);
        if (scheduler->first && count_active(scheduler) == 0) await_company(scheduler);
        drop_waiting(scheduler);
        server_sequence *place;
        server_job *job;
        while ((place = free_place(scheduler)) && (job = next_job(scheduler))) {
            scheduler->state.active = count_active(scheduler) + 1;
            pthread_mutex_unlock(&scheduler->mutex);
            server_sequence_begin(place, job, scheduler->keep);
            pthread_mutex_lock(&scheduler->mutex);
        }
        scheduler->state.active = count_active(scheduler);
        scheduler->state.keep = server_keep_stats_get(scheduler->keep);
        if (scheduler->state.active > 0 || scheduler->stopping) break;
        pthread_cond_wait(&scheduler->wanted, &scheduler->mutex);
    }
    bool go_on = !scheduler->stopping;
    pthread_mutex_unlock(&scheduler->mutex);
    return go_on;
}

/* The prompt whose turn it is among those that are not in the step yet; NULL: none. */
static server_sequence *next_prompt(server_scheduler *scheduler, int32_t n)
{
    server_sequence *best = NULL;
    for (int32_t i = 0; i < scheduler->parallel; i++) {
        server_sequence *sequence = &scheduler->sequences[i];
        if (!sequence->job || server_sequence_decodes(sequence)) continue;
        bool taken = false;
        for (int32_t k = 0; k < n; k++)
            taken |= scheduler->running[k] == sequence;
        if (!taken && (!best || sequence->slices < best->slices)) best = sequence;
    }
    return best;
}

static void add_slice(server_scheduler *scheduler, int32_t n, server_sequence *sequence,
                      int32_t count)
{
    const server_job_request *r = &sequence->job->request;
    bool last = sequence->prefilled + count == (int32_t)r->prompt.count;
    int32_t from = r->prompt_logprobs ? 0 : last ? count - 1 : count;
    scheduler->inputs[n] =
        (sluice_input){sequence->session, r->prompt.ids + sequence->prefilled, count, from};
    scheduler->running[n] = sequence;
}

/* Slices of prompts behind n rows of answers: as many as fit beside them, in one batch of the
 * engine if they can. Returns how many inputs there are then. */
static int32_t gather_prompts(server_scheduler *scheduler, int32_t n)
{
    int32_t chunk = scheduler->server->info->chunk, slice = scheduler->server->options.slice;
    int32_t room = n == 0 && chunk > slice ? chunk : slice;
    if (room + n > chunk && chunk - n >= SERVER_BLOCK) room = chunk - n;
    server_sequence *prompt;
    while ((prompt = next_prompt(scheduler, n))) {
        int32_t count = server_sequence_slice(prompt, room);
        if (count <= 0) break;
        add_slice(scheduler, n++, prompt, count);
        room -= count;
    }
    return n;
}

/* One row of each sequence that answers, then prompts. Returns how many inputs. */
static int32_t gather(server_scheduler *scheduler)
{
    int32_t n = 0, prefilling = 0;
    for (int32_t i = 0; i < scheduler->parallel; i++) {
        server_sequence *sequence = &scheduler->sequences[i];
        if (!sequence->job) continue;
        if (!server_sequence_decodes(sequence)) {
            prefilling++;
            continue;
        }
        sequence->fed = sequence->next;
        scheduler->inputs[n] = (sluice_input){sequence->session, &sequence->fed, 1, 0};
        scheduler->running[n++] = sequence;
    }
    n = gather_prompts(scheduler, n);
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->state.prefilling = prefilling;
    pthread_mutex_unlock(&scheduler->mutex);
    return n;
}

static sluice_status on_logits(void *context, int32_t input, int32_t token, const float *logits)
{
    server_scheduler *scheduler = context;
    server_sequence *sequence = scheduler->running[input];
    if (sequence->finish != SERVER_RUNNING) return SLUICE_OK;
    int32_t at = server_sequence_decodes(sequence) ? -1 : sequence->prefilled + token;
    server_sequence_logits(sequence, at, logits, scheduler->scratch);
    return SLUICE_OK;
}

static void count_step(server_scheduler *scheduler, int32_t n)
{
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->state.steps++;
    for (int32_t i = 0; i < n; i++)
        scheduler->state.rows += (uint64_t)scheduler->inputs[i].count;
    sluice_engine_stats(scheduler->server->engine, &scheduler->state.engine);
    scheduler->state.keep = server_keep_stats_get(scheduler->keep);
    pthread_mutex_unlock(&scheduler->mutex);
}

static void run_step(server_scheduler *scheduler)
{
    sluice_error err = {0};
    int32_t n = gather(scheduler);
    sluice_status status = sluice_engine_step(scheduler->server->engine, scheduler->inputs, n,
                                              on_logits, scheduler, &err);
    for (int32_t i = 0; i < n && status == SLUICE_OK; i++)
        if (!server_sequence_decodes(scheduler->running[i]))
            server_sequence_advance(scheduler->running[i], scheduler->inputs[i].count,
                                    scheduler->keep);
    count_step(scheduler, n);
    for (int32_t i = 0; i < n; i++) {
        server_sequence *sequence = scheduler->running[i];
        if (status != SLUICE_OK)
            server_sequence_end(sequence, SERVER_FINISH_FAILED, scheduler->keep, &err);
        else if (sequence->finish != SERVER_RUNNING)
            server_sequence_end(sequence, sequence->finish, scheduler->keep, NULL);
    }
}

static void *run(void *context)
{
    server_scheduler *scheduler = context;
    while (admit(scheduler))
        run_step(scheduler);
    return NULL;
}

void server_scheduler_free(server_scheduler *scheduler)
{
    for (int32_t i = 0; scheduler->sequences && i < scheduler->parallel; i++)
        server_sequence_close(&scheduler->sequences[i]);
    server_keep_free(scheduler->keep);
    free(scheduler->sequences);
    free(scheduler->scratch);
    free(scheduler->inputs);
    free(scheduler->running);
    pthread_cond_destroy(&scheduler->wanted);
    pthread_mutex_destroy(&scheduler->mutex);
    free(scheduler);
}

static sluice_status open_parts(server_scheduler *scheduler, sluice_error *err)
{
    server *s = scheduler->server;
    size_t n = (size_t)scheduler->parallel;
    scheduler->sequences = calloc(n, sizeof *scheduler->sequences);
    scheduler->inputs = calloc(n, sizeof *scheduler->inputs);
    scheduler->running = calloc(n, sizeof *scheduler->running);
    scheduler->scratch = malloc((size_t)s->info->vocab * sizeof *scheduler->scratch);
    if (!scheduler->sequences || !scheduler->inputs || !scheduler->running || !scheduler->scratch) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory for the scheduler"};
        return err->code;
    }
    sluice_status status = server_keep_new(s->options.keep_bytes, s->store, &scheduler->keep, err);
    for (size_t i = 0; i < n && status == SLUICE_OK; i++)
        status = server_sequence_open(s, &scheduler->sequences[i], err);
    if (status == SLUICE_OK && s->store)
        server_keep_files_check(s->store, scheduler->sequences[0].session);
    return status;
}

sluice_status server_scheduler_start(server *s, server_scheduler **out, sluice_error *err)
{
    server_scheduler *scheduler = calloc(1, sizeof *scheduler);
    if (!scheduler) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory for the scheduler"};
        return err->code;
    }
    scheduler->server = s;
    scheduler->parallel = s->options.parallel;
    scheduler->last = &scheduler->first;
    pthread_mutex_init(&scheduler->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&scheduler->wanted, &attributes);
    pthread_condattr_destroy(&attributes);
    sluice_status status = open_parts(scheduler, err);
    sluice_engine_stats(s->engine, &scheduler->state.engine);
    if (status == SLUICE_OK && pthread_create(&scheduler->thread, NULL, run, scheduler) != 0) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "the engine's thread could not be started"};
        status = err->code;
    }
    if (status != SLUICE_OK) {
        server_scheduler_free(scheduler);
        return status;
    }
    *out = scheduler;
    return SLUICE_OK;
}

void server_scheduler_drain(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->state.draining = true;
    pthread_mutex_unlock(&scheduler->mutex);
}

bool server_scheduler_is_idle(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    bool idle = scheduler->state.active == 0 && scheduler->state.queued == 0;
    pthread_mutex_unlock(&scheduler->mutex);
    return idle;
}

void server_scheduler_cancel(server_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->state.draining = true;
    scheduler->stopping = true;
    pthread_cond_signal(&scheduler->wanted);
    pthread_mutex_unlock(&scheduler->mutex);
    pthread_join(scheduler->thread, NULL);
}

void server_scheduler_look(server_scheduler *scheduler, server_scheduler_state *out)
{
    pthread_mutex_lock(&scheduler->mutex);
    *out = scheduler->state;
    pthread_mutex_unlock(&scheduler->mutex);
}
