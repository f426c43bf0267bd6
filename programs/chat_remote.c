/* Talking to a server; see chat_remote.h. */
#include "chat_remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "interrupt.h"

#ifndef SLUICE_HAVE_CURL

int cli_remote_open(const char *url, const char *key, cli_remote **out)
{
    (void)url;
    (void)key;
    (void)out;
    return cli_fail("--server: this sluice was built without libcurl");
}

void cli_remote_close(cli_remote *remote)
{
    (void)remote;
}

const char *cli_remote_model(const cli_remote *remote)
{
    (void)remote;
    return "";
}

int cli_remote_ask(cli_remote *remote, json_t *request, cli_remote_answer *answer)
{
    (void)remote;
    (void)answer;
    json_decref(request);
    return CLI_FAILED;
}

#else

#include <curl/curl.h>

enum { LINE_BYTES_MAX = 16 << 20, CONNECT_SECONDS = 10 };

struct cli_remote {
    CURL *curl;
    struct curl_slist *headers;
    char *url, *model;
    char why[CURL_ERROR_SIZE];
};

/* A body as it comes: lines of events, or JSON as a whole where the status is not 200. */
typedef struct body {
    cli_remote *remote;
    cli_remote_answer *answer; /* NULL: everything is kept in text */
    char *text;                /* what is not a whole line yet */
    size_t length;
    bool failed;
    struct timespec begun;
} body;

static double seconds_since(const struct timespec *begun)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begun->tv_sec) + (double)(now.tv_nsec - begun->tv_nsec) / 1e9;
}

static void give_piece(body *b, json_t *delta, const char *member, sluice_reply_part part)
{
    json_t *text = json_object_get(delta, member);
    if (json_string_length(text) == 0) return;
    if (b->answer->first_seconds == 0) b->answer->first_seconds = seconds_since(&b->begun);
    sluice_reply_event event = {
        .part = part, .text = json_string_value(text), .length = json_string_length(text)};
    b->answer->on_piece(b->answer->context, &event);
}

static void read_usage(cli_remote_answer *answer, json_t *usage)
{
    if (!json_is_object(usage)) return;
    answer->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
    answer->answer_tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
    answer->cached_tokens = json_integer_value(
        json_object_get(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"));
}

static void read_event(body *b, const char *data, size_t length)
{
    json_t *event = json_loadb(data, length, JSON_ALLOW_NUL, NULL);
    json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    json_t *delta = json_object_get(choice, "delta");
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
    const char *message =
        json_string_value(json_object_get(json_object_get(event, "error"), "message"));
    give_piece(b, delta, "reasoning_content", SLUICE_REPLY_REASONING);
    give_piece(b, delta, "content", SLUICE_REPLY_CONTENT);
    if (finish) b->answer->finish = !strcmp(finish, "length") ? "length" : "stop";
    read_usage(b->answer, json_object_get(event, "usage"));
    if (message) {
        cli_fail("the server: %s", message);
        b->failed = true;
    }
    json_decref(event);
}

/* The lines that are whole; the rest stays. */
static void read_lines(body *b)
{
    static const char prefix[] = "data: ";
    char *at = b->text, *end = b->text + b->length, *stop;
    while ((stop = memchr(at, '\n', (size_t)(end - at)))) {
        size_t length = (size_t)(stop - at), skip = sizeof prefix - 1;
        if (length > skip && !memcmp(at, prefix, skip) && at[skip] == '{')
            read_event(b, at + skip, length - skip);
        at = stop + 1;
    }
    b->length = (size_t)(end - at);
    memmove(b->text, at, b->length);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    body *b = context;
    size_t n = size * count;
    long status = 0;
    if (cli_interrupted() || b->length + n > LINE_BYTES_MAX) return 0;
    char *grown = realloc(b->text, b->length + n + 1);
    if (!grown) return 0;
    memcpy(grown + b->length, bytes, n);
    b->text = grown;
    b->length += n;
    curl_easy_getinfo(b->remote->curl, CURLINFO_RESPONSE_CODE, &status);
    if (b->answer && status == 200) read_lines(b);
    return n;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return cli_interrupted();
}

/* What a server says about a request that it refuses. */
static int refused(const body *b, long status)
{
    json_t *value = b->text ? json_loadb(b->text, b->length, 0, NULL) : NULL;
    const char *message =
        json_string_value(json_object_get(json_object_get(value, "error"), "message"));
    int result = message ? cli_fail("the server refuses: %s", message)
                         : cli_fail("the server answers with status %ld", status);
    json_decref(value);
    return result;
}

/* GET path, or POST what is given. */
static int perform(body *b, const char *path, const char *post)
{
    cli_remote *r = b->remote;
    char url[2048];
    long status = 0;
    snprintf(url, sizeof url, "%s%s", r->url, path);
    r->why[0] = '\0';
    clock_gettime(CLOCK_MONOTONIC, &b->begun);
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, b);
    if (post)
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, post);
    else
        curl_easy_setopt(r->curl, CURLOPT_HTTPGET, 1L);
    CURLcode code = curl_easy_perform(r->curl);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK && cli_interrupted()) return CLI_OK;
    if (code != CURLE_OK)
        return cli_fail("%s: %s", url, r->why[0] ? r->why : curl_easy_strerror(code));
    if (status != 200) return refused(b, status);
    return b->failed ? CLI_FAILED : CLI_OK;
}

static int find_model(cli_remote *remote)
{
    body b = {.remote = remote};
    int status = perform(&b, "/v1/models", NULL);
    if (status == CLI_OK) {
        json_t *list = json_loadb(b.text ? b.text : "", b.length, 0, NULL);
        json_t *first = json_array_get(json_object_get(list, "data"), 0);
        const char *id = json_string_value(json_object_get(first, "id"));
        if (id) remote->model = strdup(id);
        if (!remote->model) status = cli_fail("%s: no models are served there", remote->url);
        json_decref(list);
    }
    free(b.text);
    return status;
}

static bool add_header(cli_remote *remote, const char *line)
{
    struct curl_slist *grown = curl_slist_append(remote->headers, line);
    if (grown) remote->headers = grown;
    return grown != NULL;
}

static bool prepare(cli_remote *remote, const char *url, const char *key)
{
    size_t length = strlen(url);
    while (length > 0 && url[length - 1] == '/')
        length--;
    if (length > 3 && !memcmp(url + length - 3, "/v1", 3)) length -= 3; /* as clients write it */
    remote->url = strndup(url, length);
    remote->curl = curl_easy_init();
    if (!remote->url || !remote->curl || !add_header(remote, "Content-Type: application/json"))
        return false;
    if (key) {
        char *line = NULL;
        bool added =
            asprintf(&line, "Authorization: Bearer %s", key) > 0 && add_header(remote, line);
        free(line);
        if (!added) return false;
    }
    curl_easy_setopt(remote->curl, CURLOPT_HTTPHEADER, remote->headers);
    curl_easy_setopt(remote->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(remote->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(remote->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(remote->curl, CURLOPT_ERRORBUFFER, remote->why);
    curl_easy_setopt(remote->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(remote->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(remote->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    return true;
}

int cli_remote_open(const char *url, const char *key, cli_remote **out)
{
    cli_remote *remote = calloc(1, sizeof *remote);
    if (!remote || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !prepare(remote, url, key)) {
        cli_remote_close(remote);
        return cli_fail("not enough memory to talk to a server");
    }
    int status = find_model(remote);
    if (status == CLI_OK)
        *out = remote;
    else
        cli_remote_close(remote);
    return status;
}

void cli_remote_close(cli_remote *remote)
{
    if (!remote) return;
    if (remote->curl) curl_easy_cleanup(remote->curl);
    curl_slist_free_all(remote->headers);
    free(remote->url);
    free(remote->model);
    free(remote);
}

const char *cli_remote_model(const cli_remote *remote)
{
    return remote->model;
}

int cli_remote_ask(cli_remote *remote, json_t *request, cli_remote_answer *answer)
{
    body b = {.remote = remote, .answer = answer};
    if (request) json_object_set_new(request, "model", json_string(remote->model));
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) return cli_fail("not enough memory for a request");
    answer->finish = "";
    int status = perform(&b, "/v1/chat/completions", text);
    answer->seconds = seconds_since(&b.begun);
    if (status == CLI_OK && !answer->finish[0] && !cli_interrupted())
        status = cli_fail("the server's answer breaks off");
    free(text);
    free(b.text);
    return status;
}

#endif
