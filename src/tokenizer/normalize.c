/* Unicode normalisation form C: see normalize.h. Decomposition and composition are utf8proc's; the
 * ordering of marks between them is ours, since utf8proc's takes quadratic time on a long run. */
#include "tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer/utf8.h"

/* Characters that one character decomposes into at most, canonically (Unicode: 4). */
#define DECOMPOSED_MAX 18

typedef struct characters {
    utf8proc_int32_t *data, *spare;
    size_t count;
} characters;

bool sluice_nfc_is_certain(const char *text, size_t length)
{
    /* U+0300 begins with the byte CC; smaller characters with a smaller byte, all others with a
     * larger one. Bytes behind the first are below C0. */
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] >= 0xCC) return false;
    }
    return true;
}

static int combining_class(utf8proc_int32_t character)
{
    return utf8proc_get_property(character)->combining_class;
}

/* Orders a run of marks by class, stable: a counting sort over the 255 classes. */
static void order_run(characters *c, size_t begin, size_t end)
{
    size_t starts[256] = {0};
    for (size_t i = begin; i < end; i++)
        starts[combining_class(c->data[i])]++;
    size_t place = begin;
    for (size_t class = 0; class < 256; class ++) {
        size_t count = starts[class];
        starts[class] = place;
        place += count;
    }
    memcpy(c->spare + begin, c->data + begin, (end - begin) * sizeof *c->data);
    for (size_t i = begin; i < end; i++) {
        c->data[starts[combining_class(c->spare[i])]++] = c->spare[i];
    }
}

static void order_marks(characters *c)
{
    for (size_t begin = 0, end; begin < c->count; begin = end) {
        bool ordered = true;
        int class = combining_class(c->data[begin]);
        end = begin + 1;
        if (class == 0) continue;
        for (; end < c->count; end++) {
            int next = combining_class(c->data[end]);
            if (next == 0) break;
            ordered &= next >= class;
            class = next;
        }
        if (!ordered) order_run(c, begin, end);
    }
}

static bool decompose(const char *text, size_t length, characters *c)
{
    size_t capacity = length + DECOMPOSED_MAX;
    c->data = malloc(capacity * sizeof *c->data);
    for (size_t at = 0; c->data && at < length;) {
        if (capacity - c->count < DECOMPOSED_MAX) {
            capacity *= 2;
            utf8proc_int32_t *data = realloc(c->data, capacity * sizeof *data);
            if (!data) return false;
            c->data = data;
        }
        size_t step;
        utf8proc_int32_t character = (utf8proc_int32_t)sluice_utf8_decode(text + at, &step);
        int boundary = 0;
        utf8proc_ssize_t added = utf8proc_decompose_char(character, c->data + c->count,
                                                         (utf8proc_ssize_t)(capacity - c->count),
                                                         UTF8PROC_DECOMPOSE, &boundary);
        if (added < 0 || (size_t)added > capacity - c->count) return false;
        c->count += (size_t)added;
        at += step;
    }
    c->spare = malloc((c->count + 1) * sizeof *c->spare);
    return c->data && c->spare;
}

sluice_status sluice_nfc_append(const char *text, size_t length, sluice_text_buffer *to,
                                sluice_error *err)
{
    characters c = {0};
    bool done = decompose(text, length, &c);
    if (done) {
        order_marks(&c);
        utf8proc_ssize_t composed = utf8proc_normalize_utf32(c.data, (utf8proc_ssize_t)c.count,
                                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        done = composed >= 0;
        for (utf8proc_ssize_t i = 0; i < composed; i++) {
            sluice_text_buffer_append_character(to, (uint32_t)c.data[i]);
        }
    }
    free(c.data);
    free(c.spare);
    if (!done || to->failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to normalise %zu bytes", length);
    }
    return SLUICE_OK;
}
