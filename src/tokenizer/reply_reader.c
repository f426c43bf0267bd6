/* Reads a reply as it comes: reasoning, content and tool calls.
 *
 * A state machine over the text that has not been reported yet. White space and whatever could
 * still become a tag stay in it until what follows decides. A value ends where its closing tag is
 * followed by another parameter or the end of the function, so that a value may hold the tag
 * itself. */
#include <stdlib.h>

#include "tokenizer/json_write.h"
#include "tokenizer/text_buffer.h"
#include "tokenizer/tool_schema.h"
#include "tokenizer/utf8.h"

/* White space between tags that is looked past; the template writes one newline. */
#define GAP_MAX 64
/* Parameters of a call that are kept. */
#define PARAMETERS_MAX 4096

typedef enum state {
    AT_START, /* nothing but white space yet: <think> may follow */
    IN_REASONING,
    IN_CONTENT,
    IN_NAME, /* behind <function= */
    IN_CALL, /* between parameters */
    IN_KEY,  /* behind <parameter= */
    IN_VALUE,
    BEHIND_CALL /* behind </function> */
} state;

struct sluice_reply_reader {
    const sluice_tools *tools;
    sluice_reply_fn fn;
    void *context;
    state state;
    bool is_fresh;           /* nothing reported of this part: leading newlines are dropped */
    bool is_over;            /* no more text will come */
    sluice_text_buffer text; /* [start, length) is not reported yet */
    size_t start;
    size_t scanned; /* bytes behind start that need no second look */
    size_t calls;
    sluice_text_buffer name, key, value; /* of the call and parameter at hand */
    sluice_text_buffer keys; /* those of the call so far, each with its length before it */
    size_t key_count;
};

typedef enum found { NOT_HERE, HERE, UNDECIDED } found;

sluice_status sluice_reply_reader_new(const sluice_tools *tools, bool thinking, sluice_reply_fn fn,
                                      void *context, sluice_reply_reader **out, sluice_error *err)
{
    sluice_reply_reader *r = calloc(1, sizeof *r);
    *out = r;
    if (r) {
        sluice_text_buffer_reserve(&r->text, 0);
        sluice_text_buffer_reserve(&r->name, 0);
        sluice_text_buffer_reserve(&r->key, 0);
    }
    if (!r || r->text.failed || r->name.failed || r->key.failed) {
        sluice_reply_reader_free(r);
        *out = NULL;
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a reader of replies");
    }
    r->tools = tools;
    r->fn = fn;
    r->context = context;
    r->state = AT_START;
    r->is_fresh = thinking;
    return SLUICE_OK;
}

void sluice_reply_reader_free(sluice_reply_reader *r)
{
    if (!r) return;
    sluice_text_buffer_free(&r->text);
    sluice_text_buffer_free(&r->name);
    sluice_text_buffer_free(&r->key);
    sluice_text_buffer_free(&r->value);
    sluice_text_buffer_free(&r->keys);
    free(r);
}

static const char *rest(const sluice_reply_reader *r)
{
    return r->text.bytes + r->start;
}

static size_t rest_length(const sluice_reply_reader *r)
{
    return r->text.length - r->start;
}

static void consume(sluice_reply_reader *r, size_t length)
{
    r->start += length;
    r->scanned = r->scanned > length ? r->scanned - length : 0;
}

static void enter(sluice_reply_reader *r, state next, size_t consumed)
{
    consume(r, consumed);
    r->state = next;
    r->scanned = 0;
    r->is_fresh = true;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

static void report(sluice_reply_reader *r, sluice_reply_part part, const char *text, size_t length,
                   bool complete)
{
    bool in_call = part >= SLUICE_REPLY_CALL;
    sluice_reply_event event = {part, in_call ? r->calls : 0, text, length, complete};
    r->fn(r->context, &event);
}

/* Whether a tag stands at byte at; undecided if the text ends within it and more may come. */
static found match(const sluice_reply_reader *r, size_t at, const char *tag)
{
    size_t length = strlen(tag), left = rest_length(r) - at;
    if (left >= length) return memcmp(rest(r) + at, tag, length) == 0 ? HERE : NOT_HERE;
    if (r->is_over || memcmp(rest(r) + at, tag, left) != 0) return NOT_HERE;
    return UNDECIDED;
}

/* White space from byte at on, at most GAP_MAX. */
static size_t gap(const sluice_reply_reader *r, size_t at)
{
    size_t length = 0;
    while (length < GAP_MAX && at + length < rest_length(r) && is_space(rest(r)[at + length])) {
        length++;
    }
    return length;
}

/* Bytes of [0, length) that are whole characters. */
static size_t whole_characters(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)text[length - back];
        if ((byte & 0xC0) == 0x80) continue;
        size_t step;
        uint32_t codepoint;
        bool cut = sluice_utf8_step(text + length - back, back, &step, &codepoint) ==
                   SLUICE_UTF8_INCOMPLETE;
        return cut ? length - back : length;
    }
    return length;
}

/* Reports [0, length) of the rest without its final white space, which stays behind in it. */
static void report_text(sluice_reply_reader *r, size_t length)
{
    sluice_reply_part part =
        r->state == IN_REASONING ? SLUICE_REPLY_REASONING : SLUICE_REPLY_CONTENT;
    if (r->is_fresh) {
        size_t newlines = 0;
        while (newlines < length && rest(r)[newlines] == '\n')
            newlines++;
        consume(r, newlines);
        length -= newlines;
    }
    size_t end = length;
    while (end > 0 && is_space(rest(r)[end - 1]))
        end--;
    if (!r->is_over) end = whole_characters(rest(r), end);
    if (end == 0) return;
    r->is_fresh = false;
    report(r, part, rest(r), end, false);
    consume(r, end);
}

/* Whether the text is over within a tag that begins at byte at. */
static bool ends_within(const sluice_reply_reader *r, size_t at, const char *tag)
{
    size_t left = rest_length(r) - at;
    return r->is_over && left < strlen(tag) && memcmp(rest(r) + at, tag, left) == 0;
}

/* <tool_call>, a gap, <function=: *length receives the bytes of it all. A text that is over within
 * the second tag is a call too, of which not even the name is known. */
static found match_call(const sluice_reply_reader *r, size_t at, size_t *length)
{
    static const char open[] = "<tool_call>", function[] = "<function=";
    found first = match(r, at, open);
    if (first != HERE) return first;
    size_t next = at + sizeof open - 1;
    next += gap(r, next);
    bool cut = ends_within(r, next, function);
    *length = cut ? rest_length(r) - at : next - at + sizeof function - 1;
    return cut ? HERE : match(r, next, function);
}

/* Reports text up to the tag that ends this part. True if there is more to look at. */
static bool read_text(sluice_reply_reader *r)
{
    static const char close[] = "</think>";
    while (r->scanned < rest_length(r)) {
        size_t left = rest_length(r) - r->scanned, length = sizeof close - 1;
        const char *tag = memchr(rest(r) + r->scanned, '<', left);
        if (!tag) {
            r->scanned = rest_length(r);
            break;
        }
        size_t at = (size_t)(tag - rest(r));
        r->scanned = at;
        found here = r->state == IN_REASONING ? match(r, at, close) : match_call(r, at, &length);
        if (here == UNDECIDED) break;
        if (here == NOT_HERE) {
            r->scanned++;
            continue;
        }
        size_t before = rest_length(r);
        report_text(r, at);
        at -= before - rest_length(r);
        enter(r, r->state == IN_REASONING ? IN_CONTENT : IN_NAME, at + length);
        return true;
    }
    report_text(r, r->scanned);
    return false;
}

static bool read_start(sluice_reply_reader *r)
{
    static const char open[] = "<think>";
    size_t space = 0;
    while (space < rest_length(r) && is_space(rest(r)[space]))
        space++;
    found here = match(r, space, open);
    if (here == UNDECIDED) return false;
    bool thinking = r->is_fresh;
    if (here == HERE || thinking) report(r, SLUICE_REPLY_REASONING, "", 0, false);
    if (here == HERE) {
        enter(r, IN_REASONING, space + sizeof open - 1);
    } else {
        enter(r, thinking ? IN_REASONING : IN_CONTENT, 0);
        r->is_fresh = thinking;
    }
    return true;
}

/* The end of a name before '>'. It is the first '>' with a newline behind it if no '<' and no
 * newline comes before (a name may hold a '>'), otherwise the first. */
static found find_name_end(sluice_reply_reader *r, size_t *end)
{
    const char *text = rest(r);
    size_t length = rest_length(r), first = length;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '>' && first == length) first = i;
        if (text[i] != '<' && text[i] != '\n') continue;
        *end = text[i] == '\n' && i > 0 && text[i - 1] == '>' ? i - 1 : first;
        if (*end < i) return HERE;
        *end = i;
        return NOT_HERE;
    }
    *end = first;
    return r->is_over && first < length ? HERE : UNDECIDED;
}

static bool read_name(sluice_reply_reader *r)
{
    size_t end;
    found here = find_name_end(r, &end);
    if (here == UNDECIDED) return false;
    r->name.length = r->keys.length = r->key_count = 0;
    sluice_text_buffer_append(&r->name, rest(r), end);
    report(r, SLUICE_REPLY_CALL, rest(r), end, false);
    enter(r, IN_CALL, end + (here == HERE));
    return true;
}

static bool read_key(sluice_reply_reader *r)
{
    size_t end;
    found here = find_name_end(r, &end);
    if (here == UNDECIDED) return false;
    r->key.length = 0;
    sluice_text_buffer_append(&r->key, rest(r), end);
    enter(r, IN_VALUE, end + (here == HERE));
    return true;
}

/* Whether the call has this key already; notes it if not. */
static bool is_known_key(sluice_reply_reader *r)
{
    for (size_t at = 0; at < r->keys.length;) {
        size_t length;
        memcpy(&length, r->keys.bytes + at, sizeof length);
        at += sizeof length;
        if (length == r->key.length &&
            (!length || memcmp(r->keys.bytes + at, r->key.bytes, length) == 0)) {
            return true;
        }
        at += length;
    }
    if (r->key_count == PARAMETERS_MAX) return true;
    r->key_count++;
    sluice_text_buffer_append(&r->keys, (const char *)&r->key.length, sizeof r->key.length);
    sluice_text_buffer_append(&r->keys, r->key.bytes, r->key.length);
    return false;
}

static void report_value(sluice_reply_reader *r, const char *text, size_t length)
{
    if (is_known_key(r)) return;
    if (length && text[0] == '\n') {
        text++;
        length--;
    }
    if (length && text[length - 1] == '\n') length--;
    unsigned types =
        sluice_tools_types(r->tools, r->name.bytes, r->name.length, r->key.bytes, r->key.length);
    r->value.length = 0;
    sluice_text_buffer_append_string(&r->value, r->key_count == 1 ? "{" : ", ");
    sluice_json_write_string(&r->value, r->key.bytes, r->key.length);
    sluice_text_buffer_append_string(&r->value, ": ");
    sluice_tool_value_write(&r->value, types, text, length);
    if (!r->value.failed) {
        report(r, SLUICE_REPLY_ARGUMENTS, r->value.bytes, r->value.length, false);
    }
}

/* Whether what stands at byte at can follow a value. */
static found match_follower(const sluice_reply_reader *r, size_t at)
{
    static const char *const followers[] = {"<parameter=", "</function>", "</tool_call>"};
    found best = NOT_HERE;
    at += gap(r, at);
    for (size_t i = 0; i < 3; i++) {
        found here = match(r, at, followers[i]);
        /* At the very end what has begun must do. */
        if (here == HERE || ends_within(r, at, followers[i])) return HERE;
        if (here == UNDECIDED) best = UNDECIDED;
    }
    return best;
}

static bool read_value(sluice_reply_reader *r)
{
    static const char close[] = "</parameter>";
    for (;;) {
        size_t left = rest_length(r) - r->scanned;
        const char *tag = left ? memmem(rest(r) + r->scanned, left, close, sizeof close - 1) : NULL;
        if (!tag) {
            /* The tag may have begun. */
            r->scanned += left < sizeof close - 1 ? 0 : left - (sizeof close - 2);
            return false;
        }
        size_t at = (size_t)(tag - rest(r)), behind = at + sizeof close - 1;
        r->scanned = at;
        found here = match_follower(r, behind);
        if (here == UNDECIDED) return false;
        if (here == HERE) {
            report_value(r, rest(r), at);
            enter(r, IN_CALL, behind);
            return true;
        }
        r->scanned = behind;
    }
}

static void end_call(sluice_reply_reader *r, bool complete)
{
    const char *end = r->key_count ? "}" : "{}";
    report(r, SLUICE_REPLY_ARGUMENTS, end, strlen(end), false);
    report(r, SLUICE_REPLY_CALL_END, "", 0, complete);
    r->calls++;
    r->key_count = 0;
}

/* What a model writes between parameters beside white space is dropped. */
static bool read_call(sluice_reply_reader *r)
{
    static const char parameter[] = "<parameter=", end[] = "</function>", close[] = "</tool_call>";
    while (rest_length(r)) {
        const char *tag = memchr(rest(r), '<', rest_length(r));
        consume(r, tag ? (size_t)(tag - rest(r)) : rest_length(r));
        if (!tag) break;
        found key = match(r, 0, parameter), function = match(r, 0, end), call = match(r, 0, close);
        if (key == HERE) {
            enter(r, IN_KEY, sizeof parameter - 1);
            return true;
        }
        if (function == HERE || call == HERE) {
            end_call(r, true);
            enter(r, BEHIND_CALL, function == HERE ? sizeof end - 1 : 0);
            return true;
        }
        if (key == UNDECIDED || function == UNDECIDED || call == UNDECIDED) break;
        consume(r, 1);
    }
    return false;
}

static bool read_behind_call(sluice_reply_reader *r)
{
    static const char close[] = "</tool_call>", function[] = "<function=";
    size_t space = gap(r, 0);
    found call = match(r, space, close), next = match(r, space, function);
    if (ends_within(r, space, close)) {
        consume(r, rest_length(r));
        return false;
    }
    if (call == HERE) {
        enter(r, IN_CONTENT, space + sizeof close - 1);
    } else if (next == HERE) {
        enter(r, IN_NAME, space + sizeof function - 1);
    } else if (call == UNDECIDED || next == UNDECIDED) {
        return false;
    } else {
        enter(r, IN_CONTENT, 0);
    }
    return true;
}

static bool step(sluice_reply_reader *r)
{
    switch (r->state) {
    case AT_START: return read_start(r);
    case IN_REASONING:
    case IN_CONTENT: return read_text(r);
    case IN_NAME: return read_name(r);
    case IN_CALL: return read_call(r);
    case IN_KEY: return read_key(r);
    case IN_VALUE: return read_value(r);
    default: return read_behind_call(r);
    }
}

static sluice_status run(sluice_reply_reader *r, sluice_error *err)
{
    while (!r->text.failed && step(r))
        continue;
    if (r->text.failed || r->name.failed || r->key.failed || r->value.failed || r->keys.failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to read a reply");
    }
    return SLUICE_OK;
}

sluice_status sluice_reply_reader_feed(sluice_reply_reader *r, const char *text, size_t length,
                                       sluice_error *err)
{
    if (!length) return SLUICE_OK;
    /* Moving the rest costs no more than reading what came before it did. */
    if (r->start > rest_length(r)) {
        sluice_text_buffer_consume(&r->text, r->start);
        r->start = 0;
    }
    sluice_text_buffer_append(&r->text, text, length);
    return run(r, err);
}

/* Reports what is left when no tag can come any more. */
static void finish_rest(sluice_reply_reader *r)
{
    size_t space = gap(r, 0);
    bool is_text = r->state == IN_REASONING || r->state == IN_CONTENT;
    if (is_text && rest_length(r) && !(r->calls && space == rest_length(r))) {
        report(r, r->state == IN_REASONING ? SLUICE_REPLY_REASONING : SLUICE_REPLY_CONTENT, rest(r),
               rest_length(r), false);
    }
    if (r->state == IN_NAME) {
        report(r, SLUICE_REPLY_CALL, rest(r), rest_length(r), false);
    }
    if (r->state == IN_NAME || r->state == IN_CALL || r->state == IN_KEY || r->state == IN_VALUE) {
        end_call(r, false);
    }
}

sluice_status sluice_reply_reader_finish(sluice_reply_reader *r, sluice_error *err)
{
    r->is_over = true;
    SLUICE_TRY(run(r, err));
    finish_rest(r);
    return SLUICE_OK;
}
