/* Text whose parts differ in trust: see rope.h. */
#include "tokenizer/rope.h"

#include <stdlib.h>

static void add_span(sluice_rope *rope, size_t begin, size_t end)
{
    if (begin >= end || rope->text.failed) return;
    if (rope->count && rope->trusted[rope->count - 1].end >= begin) {
        rope->trusted[rope->count - 1].end = end;
        return;
    }
    if (rope->count == rope->capacity) {
        size_t capacity = rope->capacity ? rope->capacity * 2 : 16;
        sluice_span *trusted = realloc(rope->trusted, capacity * sizeof *trusted);
        if (!trusted) {
            rope->text.failed = true;
            return;
        }
        rope->trusted = trusted;
        rope->capacity = capacity;
    }
    rope->trusted[rope->count++] = (sluice_span){begin, end};
}

void sluice_rope_append(sluice_rope *rope, const char *bytes, size_t length, bool trusted)
{
    size_t begin = rope->text.length;
    sluice_text_buffer_append(&rope->text, bytes, length);
    if (trusted) add_span(rope, begin, rope->text.length);
}

void sluice_rope_trust(sluice_rope *rope, size_t begin)
{
    add_span(rope, begin, rope->text.length);
}

void sluice_rope_append_slice(sluice_rope *rope, const sluice_rope *from, size_t begin, size_t end)
{
    size_t start = rope->text.length;
    if (begin >= end) return;
    sluice_text_buffer_append(&rope->text, from->text.bytes + begin, end - begin);
    for (size_t i = 0; i < from->count; i++) {
        size_t first = from->trusted[i].begin, last = from->trusted[i].end;
        if (first < begin) first = begin;
        if (last > end) last = end;
        if (first < last) add_span(rope, start + first - begin, start + last - begin);
    }
}

void sluice_rope_free(sluice_rope *rope)
{
    sluice_text_buffer_free(&rope->text);
    free(rope->trusted);
    *rope = (sluice_rope){0};
}
