/* Stop strings; see stop_text.h.
 *
 * The buffer holds what was given out by the last call (given bytes of it) and what is held back
 * behind that; the next call drops the former. */
#include "server/stop_text.h"

#include <string.h>

static const char thought[] = "</think>";

/* How many of the last bytes of text may be the beginning of word. */
static size_t begins(const char *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    n = n > 0 ? n - 1 : 0;
    for (n = n < length ? n : length; n > 0; n--)
        if (!memcmp(text + length - n, word, n)) return n;
    return 0;
}

static const char *earliest(const server_stop_text *stop, const char *text, size_t length,
                            int *which)
{
    const char *first = NULL;
    for (size_t i = 0; i < stop->n_stops; i++) {
        const char *at = memmem(text, length, stop->stops[i], strlen(stop->stops[i]));
        if (at && (!first || at < first)) {
            first = at;
            *which = (int)i;
        }
    }
    return first;
}

static void drop(server_stop_text *stop, size_t given)
{
    if (given == 0) return;
    memmove(stop->held.bytes, stop->held.bytes + given, stop->held.length - given);
    stop->held.length -= given;
}

/* Where text that can be stopped begins; thinking is then over. */
static size_t skip_thinking(server_stop_text *stop)
{
    if (!stop->thinking) return 0;
    const char *end = memmem(stop->held.bytes, stop->held.length, thought, sizeof thought - 1);
    if (!end) return stop->held.length;
    stop->thinking = false;
    return (size_t)(end - stop->held.bytes) + sizeof thought - 1;
}

int server_stop_text_feed(server_stop_text *stop, const char *text, size_t length, const char **out,
                          size_t *out_length)
{
    int which = -1;
    drop(stop, stop->given);
    stop->given = 0;
    server_buffer_append(&stop->held, text, length);
    *out = "";
    *out_length = 0;
    if (stop->held.failed || stop->held.length == 0) return -1;

    size_t from = skip_thinking(stop), back = 0;
    const char *rest = stop->held.bytes + from;
    size_t n = stop->held.length - from;
    const char *found = stop->thinking ? NULL : earliest(stop, rest, n, &which);
    if (stop->thinking) {
        back = begins(stop->held.bytes, stop->held.length, thought);
    } else if (!found) {
        for (size_t i = 0; i < stop->n_stops; i++) {
            size_t may = begins(rest, n, stop->stops[i]);
            if (may > back) back = may;
        }
    }
    stop->given = found ? (size_t)(found - stop->held.bytes) : stop->held.length - back;
    *out = stop->held.bytes;
    *out_length = stop->given;
    return which;
}

void server_stop_text_finish(server_stop_text *stop, const char **out, size_t *out_length)
{
    drop(stop, stop->given);
    stop->given = 0;
    *out = stop->held.length ? stop->held.bytes : "";
    *out_length = stop->held.length;
}

void server_stop_text_free(server_stop_text *stop)
{
    server_buffer_free(&stop->held);
}
