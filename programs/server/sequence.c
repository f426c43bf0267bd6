/* Sequences; see sequence.h. */
#include "server/sequence.h"

#include <stdlib.h>
#include <string.h>

#include "server/logprobs.h"

sluice_status server_sequence_open(server *s, server_sequence *out, sluice_error *err)
{
    *out = (server_sequence){.server = s};
    sluice_status status = sluice_session_open(s->engine, &out->session, err);
    if (status == SLUICE_OK) status = sluice_engine_sampler_new(s->engine, &out->sampler, err);
    if (status != SLUICE_OK) server_sequence_close(out);
    return status;
}

void server_sequence_close(server_sequence *sequence)
{
    sluice_sampler_free(sequence->sampler);
    sluice_session_close(sequence->session);
    *sequence = (server_sequence){0};
}

static sluice_status prepare(server_sequence *seq, sluice_error *err)
{
    const server *s = seq->server;
    const server_job_request *r = &seq->job->request;
    sluice_status status = sluice_detokenizer_new(s->tokenizer, false, &seq->detokenizer, err);
    if (status == SLUICE_OK) status = sluice_sampler_begin(seq->sampler, &r->sampling, err);
    if (status == SLUICE_OK && r->grammar)
        status = sluice_constraint_new(r->grammar, s->trie, s->info->stop_ids, s->info->n_stop_ids,
                                       &seq->constraint, err);
    if (status == SLUICE_OK)
        sluice_sampler_see(seq->sampler, r->prompt.ids, (int32_t)r->prompt.count, false);
    return status;
}

bool server_sequence_begin(server_sequence *seq, server_job *job, server_keep *keep)
{
    sluice_error err = {0};
    const server_job_request *r = &job->request;
    seq->job = job;
    seq->stop =
        (server_stop_text){.stops = r->stops, .n_stops = r->n_stops, .thinking = r->thinking};
    seq->finish = SERVER_RUNNING;
    seq->thinking = r->thinking;
    seq->slices = 0;
    seq->prefilled = 0;
    if (prepare(seq, &err) != SLUICE_OK) {
        server_sequence_end(seq, SERVER_FINISH_FAILED, keep, &err);
        return false;
    }
    if (r->prompt_logprobs)
        sluice_session_clear(seq->session);
    else
        seq->prefilled =
            server_keep_restore(keep, r->prompt.ids, (int32_t)r->prompt.count, seq->session);
    sluice_session_prompt(seq->session, (int32_t)r->prompt.count - seq->prefilled);
    pthread_mutex_lock(&job->mutex);
    job->cached = seq->prefilled;
    pthread_mutex_unlock(&job->mutex);
    server_histogram_add(&seq->server->counters.queued, server_job_age_us(job));
    return true;
}

bool server_sequence_decodes(const server_sequence *seq)
{
    return seq->prefilled == (int32_t)seq->job->request.prompt.count;
}

static int32_t block_floor(int32_t position)
{
    return position / SERVER_BLOCK * SERVER_BLOCK;
}

int32_t server_sequence_slice(const server_sequence *seq, int32_t size)
{
    const server_job_request *r = &seq->job->request;
    int32_t at = seq->prefilled, end = (int32_t)r->prompt.count;
    int32_t marks[] = {block_floor(r->prefix_end), block_floor(r->turn_end)};
    if (end - at > size) end = block_floor(at + size);
    for (int i = 0; i < 2; i++)
        if (marks[i] > at && marks[i] < end) end = marks[i];
    return end - at;
}

static bool is_stop(const server *s, int32_t token)
{
    for (int32_t i = 0; i < s->info->n_stop_ids; i++)
        if (s->info->stop_ids[i] == token) return true;
    return false;
}

static sluice_status draw(server_sequence *seq, const float *logits, float *scratch, int32_t *token,
                          sluice_error *err)
{
    const server_job_request *r = &seq->job->request;
    sluice_status status = SLUICE_OK;
    int32_t left = r->tokens_max - seq->job->count;
    int32_t thought = sluice_tokenizer_find(seq->server->tokenizer, "</think>");
    if (seq->constraint) {
        int32_t vocab = seq->server->info->vocab;
        memcpy(scratch, logits, (size_t)vocab * sizeof *logits);
        logits = scratch;
        status = sluice_constraint_filter(seq->constraint, left, scratch, vocab, err);
    }
    if (status == SLUICE_OK) status = sluice_sampler_draw(seq->sampler, logits, token, err);
    if (seq->thinking && r->thinking_max && seq->job->count >= r->thinking_max && thought >= 0)
        *token = thought;
    if (*token == thought) seq->thinking = false;
    if (status == SLUICE_OK && seq->constraint)
        status = sluice_constraint_accept(seq->constraint, *token, err);
    return status;
}

/* A token of the answer: to the penalties, the text, the job. */
static sluice_status take(server_sequence *seq, int32_t token, const server_logprob *logprobs,
                          sluice_error *err)
{
    server_job *job = seq->job;
    const char *text, *shown;
    size_t length, shown_length;
    sluice_sampler_see(seq->sampler, &token, 1, true);
    sluice_status status = sluice_detokenizer_push(seq->detokenizer, token, &text, &length, err);
    if (status != SLUICE_OK) return status;
    int stop = server_stop_text_feed(&seq->stop, text, length, &shown, &shown_length);
    if (job->count == 0)
        server_histogram_add(&seq->server->counters.first_token, server_job_age_us(job));
    server_job_token(job, token, logprobs, shown, shown_length);
    seq->next = token;
    if (stop >= 0) {
        job->stop = (size_t)stop;
        seq->finish = SERVER_FINISH_STOP_TEXT;
    } else if (job->count == job->request.tokens_max) {
        seq->finish = SERVER_FINISH_LENGTH;
    }
    return SLUICE_OK;
}

static void fail(server_sequence *seq, const sluice_error *err)
{
    pthread_mutex_lock(&seq->job->mutex);
    server_error_from(&seq->job->error, err);
    pthread_mutex_unlock(&seq->job->mutex);
    seq->finish = SERVER_FINISH_FAILED;
}

static void answer(server_sequence *seq, const float *logits, float *scratch)
{
    const server_job_request *r = &seq->job->request;
    server_logprob logprobs[1 + SERVER_TOP_MAX];
    sluice_error err = {0};
    int32_t token = -1;
    sluice_status status = draw(seq, logits, scratch, &token, &err);
    if (status == SLUICE_OK && is_stop(seq->server, token)) {
        seq->finish = SERVER_FINISH_STOP;
    } else if (status == SLUICE_OK) {
        if (r->top >= 0) server_logprobs(logits, seq->server->info->vocab, token, r->top, logprobs);
        status = take(seq, token, r->top >= 0 ? logprobs : NULL, &err);
    }
    if (status != SLUICE_OK) fail(seq, &err);
}

void server_sequence_logits(server_sequence *seq, int32_t at, const float *logits, float *scratch)
{
    const server_job_request *r = &seq->job->request;
    int32_t count = (int32_t)r->prompt.count;
    if (at >= 0 && at < count - 1) {
        server_logprobs(logits, seq->server->info->vocab, r->prompt.ids[at + 1], r->top,
                        seq->job->prompt_logprobs + (size_t)(at + 1) * (size_t)(r->top + 1));
        return;
    }
    if (r->tokens_max == 0)
        seq->finish = SERVER_FINISH_LENGTH;
    else
        answer(seq, logits, scratch);
}

void server_sequence_advance(server_sequence *seq, int32_t count, server_keep *keep)
{
    const server_job_request *r = &seq->job->request;
    seq->prefilled += count;
    seq->slices++;
    bool prefix = seq->prefilled == block_floor(r->prefix_end);
    if (prefix || seq->prefilled == block_floor(r->turn_end))
        server_keep_take(keep, seq->session, prefix);
}

/* What detokenizer and stops held back belongs to an answer that did not end at a stop. */
static void flush(server_sequence *seq, server_finish finish)
{
    const char *text, *shown, *rest;
    size_t length, shown_length, rest_length;
    server_buffer tail = {0};
    if (finish == SERVER_FINISH_STOP || finish == SERVER_FINISH_LENGTH) {
        sluice_detokenizer_finish(seq->detokenizer, &text, &length);
        int stop = server_stop_text_feed(&seq->stop, text, length, &shown, &shown_length);
        server_buffer_append(&tail, shown, shown_length);
        server_stop_text_finish(&seq->stop, &rest, &rest_length);
        if (stop < 0) server_buffer_append(&tail, rest, rest_length);
    }
    server_job_end(seq->job, finish, tail.bytes ? tail.bytes : "", tail.length);
    server_buffer_free(&tail);
}

static void count_tokens(const server_sequence *seq, server_finish finish)
{
    server_counters *counters = &seq->server->counters;
    const server_job *job = seq->job;
    atomic_fetch_add(&counters->prompt_tokens, (unsigned long long)seq->prefilled);
    atomic_fetch_add(&counters->cached_tokens, (unsigned long long)job->cached);
    atomic_fetch_add(&counters->answer_tokens, (unsigned long long)job->count);
    if (finish != SERVER_FINISH_CANCELLED && finish != SERVER_FINISH_FAILED)
        server_histogram_add(&counters->answered, server_job_age_us(job));
}

void server_sequence_end(server_sequence *seq, server_finish finish, server_keep *keep,
                         const sluice_error *err)
{
    server_job *job = seq->job;
    count_tokens(seq, finish);
    bool whole = finish == SERVER_FINISH_STOP || finish == SERVER_FINISH_LENGTH;
    if (whole && job->request.keep) server_keep_take(keep, seq->session, job->request.to_file);
    if (err)
        server_job_fail(job, err);
    else
        flush(seq, finish);
    sluice_constraint_free(seq->constraint);
    sluice_detokenizer_free(seq->detokenizer);
    server_stop_text_free(&seq->stop);
    seq->constraint = NULL;
    seq->detokenizer = NULL;
    seq->job = NULL;
    server_job_release(job);
}
