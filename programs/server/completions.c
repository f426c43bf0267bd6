/* /v1/completions: raw text goes on, with echo and logprobs as evaluation harnesses need them. */
#include <stdlib.h>
#include <string.h>

#include "server/completion_request.h"
#include "server/openai.h"
#include "server/scheduler.h"

typedef struct completion {
    server *server;
    server_job **jobs; /* [count] */
    size_t count;
    int socket;
    char id[SERVER_ID_SIZE];
    time_t created;
    bool echo, include_usage;
    int32_t tokens_seen; /* of a stream */
    size_t text_seen, offset;
} completion;

static void completion_close(completion *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->jobs[i]) server_job_cancel(c->jobs[i]);
        server_job_release(c->jobs[i]);
    }
    free(c->jobs);
    free(c);
}

/* A token as a member of top_logprobs, an object: later ones of the same text are dropped. */
static void add_top(const server *s, json_t *top, const server_logprob *p)
{
    json_t *text = server_token_text(s, p->token);
    const char *key = json_string_value(text);
    if (key && !json_object_get(top, key)) json_object_set_new(top, key, json_real(p->logprob));
    json_decref(text);
}

typedef struct lists {
    json_t *tokens, *logprobs, *top, *offsets;
    size_t offset;
} lists;

/* row: NULL for a token without any probability, which the first of a prompt is. */
static void add_token(const server *s, lists *l, int32_t token, const server_logprob *row,
                      int32_t n_top)
{
    json_t *text = server_token_text(s, token), *top = json_object();
    json_array_append_new(l->offsets, json_integer((json_int_t)l->offset));
    l->offset += json_string_length(text);
    json_array_append_new(l->tokens, text);
    json_array_append_new(l->logprobs, row ? json_real(row[0].logprob) : json_null());
    for (int32_t k = 1; row && k <= n_top && row[k].token >= 0; k++)
        add_top(s, top, &row[k]);
    json_array_append_new(l->top, row && n_top > 0 ? json_incref(top) : json_null());
    json_decref(top);
}

/* Of the answer's tokens [from, to), behind the prompt's if they are wanted. */
static json_t *logprobs_json(const completion *c, const server_job *job, bool prompt, int32_t from,
                             int32_t to, size_t offset)
{
    const server_job_request *r = &job->request;
    size_t wide = (size_t)(r->top + 1);
    if (r->top < 0) return json_null();
    lists l = {json_array(), json_array(), json_array(), json_array(), offset};
    for (size_t i = 0; prompt && i < r->prompt.count; i++)
        add_token(c->server, &l, r->prompt.ids[i], i ? job->prompt_logprobs + i * wide : NULL,
                  r->top);
    for (int32_t i = from; i < to; i++)
        add_token(c->server, &l, job->tokens[i], job->logprobs + (size_t)i * wide, r->top);
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", l.tokens, "token_logprobs", l.logprobs,
                     "top_logprobs", l.top, "text_offset", l.offsets);
}

static json_t *choice(const completion *c, size_t i)
{
    const server_job *job = c->jobs[i];
    server_buffer text = {0};
    sluice_text prompt = {0};
    if (c->echo &&
        sluice_tokenizer_decode(c->server->tokenizer, job->request.prompt.ids,
                                job->request.prompt.count, false, &prompt, NULL) == SLUICE_OK)
        server_buffer_append(&text, prompt.bytes, prompt.length);
    server_buffer_append(&text, job->text.bytes ? job->text.bytes : "", job->text.length);
    json_t *value =
        json_pack("{s:i, s:s#, s:o, s:s}", "index", (int)i, "text", text.bytes, (int)text.length,
                  "logprobs", logprobs_json(c, job, c->echo, 0, job->count, 0), "finish_reason",
                  server_openai_finish(job->finish, false));
    sluice_text_free(&prompt);
    server_buffer_free(&text);
    return value;
}

static json_t *usage(const completion *c)
{
    int64_t prompt = 0, cached = 0, answer = 0;
    for (size_t i = 0; i < c->count; i++) {
        prompt += (int64_t)c->jobs[i]->request.prompt.count;
        cached += c->jobs[i]->cached;
        answer += c->jobs[i]->count;
    }
    return server_openai_usage(prompt, cached, answer, 0);
}

static json_t *envelope(const completion *c, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", c->id, "object", "text_completion",
                     "created", (json_int_t)c->created, "model", c->server->name, "choices",
                     choices);
}

static void job_error(const server_job *job, server_error *err)
{
    if (job->finish == SERVER_FINISH_FAILED && !err->status) *err = job->error;
    if (job->finish == SERVER_FINISH_CANCELLED)
        server_error_set(err, 503, "shutting_down", NULL, "the server is shutting down");
}

static void answer_whole(server_request *request, completion *c)
{
    server_error *err = server_request_error(request);
    json_t *choices = json_array();
    for (size_t i = 0; i < c->count; i++) {
        server_job *job = c->jobs[i];
        server_wait wait;
        while ((wait = server_job_wait(job, INT32_MAX, SIZE_MAX, c->socket, SERVER_QUIET_MS)) ==
               SERVER_WAIT_QUIET)
            ;
        if (wait == SERVER_WAIT_GONE) {
            atomic_fetch_add(&c->server->counters.cancelled, 1);
            json_decref(choices);
            return;
        }
        job_error(job, err);
        if (!err->status) json_array_append_new(choices, choice(c, i));
    }
    if (err->status) {
        json_decref(choices);
        server_answer_error(request);
        return;
    }
    json_t *value = envelope(c, choices);
    json_object_set_new(value, "usage", usage(c));
    server_answer_json(request, 200, value);
}

static void stream_piece(completion *c, server_buffer *out)
{
    server_job *job = c->jobs[0];
    pthread_mutex_lock(&job->mutex);
    int32_t count = job->count;
    bool over = job->finish != SERVER_RUNNING;
    json_t *text = json_stringn(job->text.bytes ? job->text.bytes + c->text_seen : "",
                                job->text.length - c->text_seen);
    c->text_seen = job->text.length;
    pthread_mutex_unlock(&job->mutex);
    json_t *logprobs = logprobs_json(c, job, false, c->tokens_seen, count, c->offset);
    c->offset = c->text_seen;
    c->tokens_seen = count;
    bool failed =
        over && (job->finish == SERVER_FINISH_FAILED || job->finish == SERVER_FINISH_CANCELLED);
    if (failed) {
        server_error err = {0};
        job_error(job, &err);
        json_decref(text);
        json_decref(logprobs);
        server_buffer_event(out, NULL, server_error_json(SERVER_API_OPENAI, &err));
        return;
    }
    server_buffer_event(
        out, NULL,
        envelope(c, json_pack("[{s:i, s:o, s:o, s:s?}]", "index", 0, "text", text, "logprobs",
                              logprobs, "finish_reason",
                              over ? server_openai_finish(job->finish, false) : NULL)));
}

static bool stream_next(void *context, server_buffer *out)
{
    completion *c = context;
    server_job *job = c->jobs[0];
    server_wait wait =
        server_job_wait(job, c->tokens_seen, c->text_seen, c->socket, SERVER_QUIET_MS);
    if (wait == SERVER_WAIT_QUIET) server_buffer_text(out, ": waiting\n\n");
    if (wait == SERVER_WAIT_GONE) atomic_fetch_add(&c->server->counters.cancelled, 1);
    if (wait != SERVER_WAIT_MORE) return wait == SERVER_WAIT_QUIET;
    stream_piece(c, out);
    pthread_mutex_lock(&job->mutex);
    bool over = job->finish != SERVER_RUNNING && job->text.length == c->text_seen;
    pthread_mutex_unlock(&job->mutex);
    if (!over) return true;
    json_t *counted = usage(c);
    if (c->include_usage) {
        json_t *last = envelope(c, json_array());
        json_object_set(last, "usage", counted);
        server_buffer_event(out, NULL, last);
    }
    json_decref(counted);
    server_buffer_text(out, "data: [DONE]\n\n");
    return false;
}

static void stream_finish(void *context)
{
    completion_close(context);
}

/* Submits all prompts; NULL: the request's error is set. */
static completion *completion_open(server_request *request, server_completion *asked)
{
    server *s = server_request_server(request);
    server_error *err = server_request_error(request);
    completion *c = calloc(1, sizeof *c);
    if (c) c->jobs = calloc(asked->count, sizeof *c->jobs);
    if (!c || !c->jobs) {
        free(c);
        server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
        return NULL;
    }
    c->server = s;
    c->socket = server_request_socket(request);
    c->created = time(NULL);
    c->echo = asked->echo;
    c->include_usage = asked->include_usage;
    server_id(c->id, "cmpl-");
    for (size_t i = 0; i < asked->count && !err->status; i++) {
        server_job_request r =
            server_completion_job(s, asked, i, server_request_client(request), err);
        c->jobs[c->count++] = server_job_new(&r);
        if (!c->jobs[i])
            server_error_set(err, 503, "overloaded", NULL, "no memory for the request");
        else if (!err->status)
            server_scheduler_submit(s->scheduler, c->jobs[i], err);
    }
    server_request_came(request);
    if (!err->status) return c;
    completion_close(c);
    return NULL;
}

void server_openai_completions(server_request *request)
{
    server_completion asked = {0};
    server_error *err = server_request_error(request);
    server_completion_read(server_request_server(request), server_request_json(request), &asked,
                           err);
    completion *c = err->status ? NULL : completion_open(request, &asked);
    bool stream = asked.stream;
    server_completion_free(&asked);
    if (!c) {
        server_answer_error(request);
    } else if (stream) {
        server_answer_stream(request, "text/event-stream",
                             (server_stream){stream_next, stream_finish, c});
    } else {
        answer_whole(request, c);
        completion_close(c);
    }
}
