/* Added tokens: see added_tokens.h. */
#include "tokenizer/added_tokens.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "tokenizer/utf8.h"

/* Children of a node are a list; there are few tokens, so the lists are short. */
typedef struct sluice_matcher_node {
    const sluice_added_token *token; /* that ends here, or NULL */
    uint32_t child, sibling;         /* 0: none */
    unsigned char byte;
} node;

static uint32_t new_node(sluice_matcher *matcher, unsigned char byte)
{
    if (matcher->count + 1 >= matcher->capacity) {
        size_t capacity = matcher->capacity ? matcher->capacity * 2 : 64;
        node *nodes = realloc(matcher->nodes, capacity * sizeof *nodes);
        if (!nodes) return 0;
        matcher->nodes = nodes;
        matcher->capacity = capacity;
        if (!matcher->count) matcher->count = 1; /* node 0 stands for none */
    }
    matcher->nodes[matcher->count] = (node){.byte = byte};
    return (uint32_t)matcher->count++;
}

static uint32_t find_child(const sluice_matcher *matcher, uint32_t parent, unsigned char byte)
{
    uint32_t at = matcher->nodes[parent].child;
    while (at && matcher->nodes[at].byte != byte)
        at = matcher->nodes[at].sibling;
    return at;
}

bool sluice_matcher_add(sluice_matcher *matcher, const char *content, size_t length,
                        const sluice_added_token *token)
{
    if (!length) return true;
    unsigned char first = (unsigned char)content[0];
    if (!matcher->roots[first]) matcher->roots[first] = new_node(matcher, first);
    uint32_t at = matcher->roots[first];
    for (size_t i = 1; at && i < length; i++) {
        unsigned char byte = (unsigned char)content[i];
        uint32_t child = find_child(matcher, at, byte);
        if (!child) {
            child = new_node(matcher, byte);
            if (!child) return false;
            matcher->nodes[child].sibling = matcher->nodes[at].child;
            matcher->nodes[at].child = child;
        }
        at = child;
    }
    if (!at) return false;
    /* Of equal contents (after normalisation) the first counts, as in the reference. */
    if (!matcher->nodes[at].token) matcher->nodes[at].token = token;
    return true;
}

void sluice_matcher_free(sluice_matcher *matcher)
{
    free(matcher->nodes);
    *matcher = (sluice_matcher){0};
}

/* The longest token at text, or NULL. */
static const sluice_added_token *longest(const sluice_matcher *matcher, const char *text,
                                         size_t length, size_t *end)
{
    const sluice_added_token *found = NULL;
    uint32_t at = matcher->roots[(unsigned char)text[0]];
    for (size_t i = 1; at; i++) {
        if (matcher->nodes[at].token) {
            found = matcher->nodes[at].token;
            *end = i;
        }
        if (i == length) break;
        at = find_child(matcher, at, (unsigned char)text[i]);
    }
    return found;
}

/* \w of the reference's regular expressions here (Rust's): alphabetic, marks, decimal numbers,
 * connectors and joiners. Other_Alphabetic beyond letters and marks is enclosed letters. */
static bool is_word(uint32_t codepoint)
{
    switch (utf8proc_category((utf8proc_int32_t)codepoint)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    return codepoint == 0x200C || codepoint == 0x200D ||
           (codepoint >= 0x24B6 && codepoint <= 0x24E9) ||
           (codepoint >= 0x1F130 && codepoint <= 0x1F149) ||
           (codepoint >= 0x1F150 && codepoint <= 0x1F169) ||
           (codepoint >= 0x1F170 && codepoint <= 0x1F189);
}

static bool word_before(const char *text, size_t at)
{
    size_t step;
    return at > 0 && is_word(sluice_utf8_decode(text + sluice_utf8_previous(text, at), &step));
}

static bool word_behind(const char *text, size_t length, size_t at)
{
    size_t step;
    return at < length && is_word(sluice_utf8_decode(text + at, &step));
}

static size_t spaces_before(const char *text, size_t at, size_t taken)
{
    while (at > taken) {
        size_t step, previous = sluice_utf8_previous(text, at);
        if (!sluice_utf8_is_white_space(sluice_utf8_decode(text + previous, &step))) break;
        at = previous;
    }
    return at;
}

static size_t spaces_behind(const char *text, size_t length, size_t at)
{
    while (at < length) {
        size_t step;
        if (!sluice_utf8_is_white_space(sluice_utf8_decode(text + at, &step))) break;
        at += step;
    }
    return at;
}

bool sluice_matcher_find(const sluice_matcher *matcher, const char *text, size_t length,
                         size_t from, size_t limit, size_t taken, bool skip_special,
                         sluice_match *match)
{
    if (!matcher->count) return false;
    for (size_t at = from; at < limit; at++) {
        if (!matcher->roots[(unsigned char)text[at]]) continue;
        size_t bytes;
        const sluice_added_token *token = longest(matcher, text + at, limit - at, &bytes);
        if (!token) continue;
        size_t begin = at, end = at + bytes;
        /* A token that does not count still hides those that begin within it. */
        at = end - 1;
        if (skip_special && token->special) continue;
        if (token->single_word && (word_before(text, begin) || word_behind(text, length, end))) {
            continue;
        }
        *match = (sluice_match){token, begin, end, end};
        if (token->lstrip) match->begin = spaces_before(text, begin, taken);
        if (token->rstrip) match->end = spaces_behind(text, length, end);
        return true;
    }
    return false;
}
