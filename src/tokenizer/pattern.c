/* Rewrites a regular expression for PCRE2: see pattern.h. */
#include "tokenizer/pattern.h"

/* White_Space without relying on the property's name, which PCRE2 knows only since 10.40. PCRE2's
 * own \s also has U+180E, which Unicode took out. */
#define SPACE_SET "\\p{Z}\\x{9}-\\x{d}\\x{85}"
/* Oniguruma's \w; PCRE2's lacks marks, letter numbers and most connectors. */
#define WORD_SET "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"

typedef struct rewriter {
    const char *name, *pattern;
    size_t length, at;
    sluice_text_buffer *to;
    bool in_class;
} rewriter;

static sluice_status refuse(const rewriter *r, const char *what, sluice_error *err)
{
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: the pattern of a Split pre-tokenizer has %s at byte %zu, which is not "
                       "supported",
                       r->name, what, r->at);
}

static char peek(const rewriter *r, size_t ahead)
{
    return r->length - r->at > ahead ? r->pattern[r->at + ahead] : 0;
}

static void copy(rewriter *r, size_t bytes)
{
    sluice_text_buffer_append(r->to, r->pattern + r->at, bytes);
    r->at += bytes;
}

static void replace(rewriter *r, size_t bytes, const char *text)
{
    sluice_text_buffer_append_string(r->to, text);
    r->at += bytes;
}

/* \uHHHH, which PCRE2 writes \x{HHHH}. */
static sluice_status rewrite_unicode(rewriter *r, sluice_error *err)
{
    if (r->length - r->at < 6) return refuse(r, "a short \\u", err);
    sluice_text_buffer_append_string(r->to, "\\x{");
    sluice_text_buffer_append(r->to, r->pattern + r->at + 2, 4);
    sluice_text_buffer_append_byte(r->to, '}');
    r->at += 6;
    return SLUICE_OK;
}

/* An escape that may have a name or number in braces, which are no interval. */
static sluice_status copy_braced(rewriter *r, sluice_error *err)
{
    copy(r, 2);
    if (peek(r, 0) != '{') return SLUICE_OK;
    const char *close = memchr(r->pattern + r->at, '}', r->length - r->at);
    if (!close) return refuse(r, "an escape without its closing brace", err);
    copy(r, (size_t)(close - (r->pattern + r->at)) + 1);
    return SLUICE_OK;
}

static sluice_status rewrite_escape(rewriter *r, sluice_error *err)
{
    char letter = peek(r, 1);
    bool word = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                (letter >= '0' && letter <= '9');
    switch (letter) {
    case 0: return refuse(r, "a backslash at its end", err);
    case 's': replace(r, 2, r->in_class ? SPACE_SET : "[" SPACE_SET "]"); break;
    case 'w': replace(r, 2, r->in_class ? WORD_SET : "[" WORD_SET "]"); break;
    case 'v': replace(r, 2, "\\x{b}"); break;
    case 'S': replace(r, 2, r->in_class ? "\\P{White_Space}" : "[^" SPACE_SET "]"); break;
    case 'W':
        if (r->in_class) return refuse(r, "\\W within a class", err);
        replace(r, 2, "[^" WORD_SET "]");
        break;
    case 'u': return rewrite_unicode(r, err);
    case 'x':
        if (peek(r, 2) != '{') return refuse(r, "a byte escape (\\x without braces)", err);
        return copy_braced(r, err);
    case 'p':
    case 'P': return copy_braced(r, err);
    case 'd':
    case 'D':
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'a':
    case 'e': copy(r, 2); break;
    default:
        if (word) return refuse(r, "an escape whose meaning differs between engines", err);
        /* Both keep an escaped punctuation character as it is. */
        copy(r, 1);
        copy(r, 1);
        break;
    }
    return SLUICE_OK;
}

/* What follows "(?": groups without names and conditions, and the option i. */
static sluice_status check_group(rewriter *r, sluice_error *err)
{
    static const char *const allowed[] = {"(?:",  "(?=",  "(?!",  "(?>",
                                          "(?<=", "(?<!", "(?i:", "(?-i:"};
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        size_t length = strlen(allowed[i]);
        if (r->length - r->at >= length && memcmp(r->pattern + r->at, allowed[i], length) == 0) {
            copy(r, length);
            return SLUICE_OK;
        }
    }
    /* In the middle of a pattern Ruby's (?i) also cuts the alternatives; at its start it cannot. */
    if (r->at == 0 && r->length >= 4 && memcmp(r->pattern, "(?i)", 4) == 0) {
        copy(r, 4);
        return SLUICE_OK;
    }
    return refuse(r, "a group option other than i", err);
}

static sluice_status rewrite_class(rewriter *r, sluice_error *err)
{
    r->in_class = true;
    copy(r, 1);
    if (peek(r, 0) == '^') copy(r, 1);
    if (peek(r, 0) == ']') copy(r, 1);
    while (r->at < r->length && peek(r, 0) != ']') {
        char byte = peek(r, 0);
        if (byte == '\\') {
            SLUICE_TRY(rewrite_escape(r, err));
        } else if (byte == '[' && peek(r, 1) == ':') {
            return refuse(r, "a POSIX class", err);
        } else if (byte == '[') {
            return refuse(r, "a class within a class", err);
        } else if (byte == '&' && peek(r, 1) == '&') {
            return refuse(r, "an intersection of classes", err);
        } else {
            copy(r, 1);
        }
    }
    if (r->at == r->length) return refuse(r, "a class without its end", err);
    copy(r, 1);
    r->in_class = false;
    return SLUICE_OK;
}

sluice_status sluice_pattern_rewrite(const char *name, const char *pattern, size_t length,
                                     sluice_text_buffer *to, sluice_error *err)
{
    rewriter r = {name, pattern, length, 0, to, false};
    while (r.at < length) {
        char byte = peek(&r, 0);
        if (byte == '\\') {
            SLUICE_TRY(rewrite_escape(&r, err));
        } else if (byte == '[') {
            SLUICE_TRY(rewrite_class(&r, err));
        } else if (byte == '(' && peek(&r, 1) == '?') {
            SLUICE_TRY(check_group(&r, err));
        } else if (byte == '(' && peek(&r, 1) == '*') {
            return refuse(&r, "a verb", err);
        } else if (byte == '{' && peek(&r, 1) == ',') {
            replace(&r, 1, "{0");
        } else if (byte == '}' && peek(&r, 1) == '+') {
            return refuse(&r, "a possessive interval", err);
        } else {
            copy(&r, 1);
        }
    }
    return SLUICE_OK;
}
