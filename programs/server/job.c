/* Jobs; see job.h. */
#include "server/job.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 50 }; /* between looks at whether the client is still there */

void server_job_request_free(server_job_request *request)
{
    sluice_ids_free(&request->prompt);
    for (size_t i = 0; i < request->n_stops; i++)
        free(request->stops[i]);
    sluice_grammar_free(request->grammar);
    *request = (server_job_request){0};
}

static bool allocate(server_job *job)
{
    const server_job_request *r = &job->request;
    size_t answer = (size_t)r->tokens_max + 1, wide = (size_t)(r->top + 1);
    job->tokens = malloc(answer * sizeof *job->tokens);
    if (r->top >= 0) job->logprobs = malloc(answer * wide * sizeof *job->logprobs);
    if (r->prompt_logprobs)
        job->prompt_logprobs = malloc((r->prompt.count + 1) * wide * sizeof *job->prompt_logprobs);
    return job->tokens && (r->top < 0 || job->logprobs) &&
           (!r->prompt_logprobs || job->prompt_logprobs);
}

static uint64_t now_us(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000u + (uint64_t)at.tv_nsec / 1000u;
}

server_job *server_job_new(server_job_request *request)
{
    server_job *job = calloc(1, sizeof *job);
    if (!job) {
        server_job_request_free(request);
        return NULL;
    }
    job->request = *request;
    *request = (server_job_request){0};
    job->arrived_us = now_us();
    atomic_init(&job->references, 1);
    atomic_init(&job->cancelled, false);
    pthread_mutex_init(&job->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&job->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!allocate(job)) {
        server_job_release(job);
        return NULL;
    }
    return job;
}

server_job *server_job_share(server_job *job)
{
    atomic_fetch_add(&job->references, 1);
    return job;
}

void server_job_release(server_job *job)
{
    if (!job || atomic_fetch_sub(&job->references, 1) != 1) return;
    server_job_request_free(&job->request);
    server_buffer_free(&job->text);
    free(job->tokens);
    free(job->logprobs);
    free(job->prompt_logprobs);
    pthread_cond_destroy(&job->changed);
    pthread_mutex_destroy(&job->mutex);
    free(job);
}

void server_job_cancel(server_job *job)
{
    atomic_store(&job->cancelled, true);
}

static bool client_gone(int socket)
{
    struct pollfd look = {.fd = socket, .events = POLLRDHUP};
    return poll(&look, 1, 0) > 0 && look.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

server_wait server_job_wait(server_job *job, int32_t tokens_seen, size_t text_seen, int socket,
                            int quiet_ms)
{
    for (int waited = 0;; waited += LOOK_MS) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        pthread_mutex_lock(&job->mutex);
        int timeout = 0;
        bool more = false;
        while (!timeout && !more) {
            more = job->finish != SERVER_RUNNING || job->count > tokens_seen ||
                   job->text.length > text_seen;
            if (!more) timeout = pthread_cond_timedwait(&job->changed, &job->mutex, &until);
        }
        pthread_mutex_unlock(&job->mutex);
        if (client_gone(socket)) return SERVER_WAIT_GONE;
        if (more) return SERVER_WAIT_MORE;
        if (waited >= quiet_ms) return SERVER_WAIT_QUIET;
    }
}

void server_job_token(server_job *job, int32_t token, const server_logprob *logprobs,
                      const char *text, size_t length)
{
    size_t wide = (size_t)(job->request.top + 1);
    pthread_mutex_lock(&job->mutex);
    if (logprobs)
        memcpy(job->logprobs + (size_t)job->count * wide, logprobs, wide * sizeof *logprobs);
    job->tokens[job->count++] = token;
    server_buffer_append(&job->text, text, length);
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->mutex);
}

void server_job_end(server_job *job, server_finish finish, const char *text, size_t length)
{
    pthread_mutex_lock(&job->mutex);
    server_buffer_append(&job->text, text, length);
    if (job->text.failed && finish != SERVER_FINISH_CANCELLED) {
        server_error_set(&job->error, 503, "overloaded", NULL, "no memory for the answer");
        finish = SERVER_FINISH_FAILED;
    }
    job->finish = finish;
    pthread_cond_signal(&job->changed);
    pthread_mutex_unlock(&job->mutex);
}

void server_job_fail(server_job *job, const sluice_error *err)
{
    pthread_mutex_lock(&job->mutex);
    server_error_from(&job->error, err);
    pthread_mutex_unlock(&job->mutex);
    server_job_end(job, SERVER_FINISH_FAILED, "", 0);
}

uint64_t server_job_age_us(const server_job *job)
{
    return now_us() - job->arrived_us;
}

void server_job_late(server_job *job, int32_t seconds)
{
    pthread_mutex_lock(&job->mutex);
    server_error_set(&job->error, 503, "timeout", NULL,
                     "no answer had begun after %d s, which is this server's limit", seconds);
    pthread_mutex_unlock(&job->mutex);
}
