/* Characters of strings: see text_form.h. */
#include "grammar/text_form.h"

#include <stdio.h>
#include <string.h>

static void build_escape(sluice_automaton *a, uint32_t from, uint32_t character, uint32_t to)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    char text[8];
    const char *short_form = character ? strchr(plain, (int)character) : NULL;
    if (short_form) {
        snprintf(text, sizeof text, "\\%c", letters[short_form - plain]);
    } else {
        snprintf(text, sizeof text, "\\u%04x", (unsigned)character & 0xFFFFu);
    }
    sluice_automaton_empty(a, sluice_build_text(a, from, text), to);
    if (short_form || character % 16 < 10) return;
    snprintf(text, sizeof text, "\\u%04X", (unsigned)character & 0xFFFFu);
    sluice_automaton_empty(a, sluice_build_text(a, from, text), to);
}

bool sluice_text_form_build(sluice_automaton *a, sluice_text_form form, uint32_t from,
                            sluice_characters *set, uint32_t to)
{
    bool any = false;
    if (form.in_call) sluice_characters_remove(set, '<');
    /* NUL is left out: too many readers of JSON refuse it. */
    sluice_characters_remove(set, 0);
    for (uint32_t character = 1; character < 128 && form.quoted; character++) {
        if (character >= 0x20 && character != '"' && character != '\\') continue;
        if (!sluice_characters_remove(set, character)) continue;
        build_escape(a, from, character, to);
        any = true;
    }
    sluice_characters_build(a, from, set, to);
    return any || set->count > 0 || set->failed;
}

static void build_hex(sluice_automaton *a, uint32_t from, const char *digits, uint32_t to)
{
    for (const char *digit = digits; *digit; digit++)
        sluice_automaton_bytes(a, from, (unsigned char)*digit, (unsigned char)*digit, to);
}

/* From behind \u: four digits that are no NUL and no half of a pair, or a whole pair. */
static void build_unicode_escape(sluice_automaton *a, uint32_t from, uint32_t to)
{
    static const char hex[] = "0123456789abcdefABCDEF", not_0[] = "123456789abcdefABCDEF";
    uint32_t left[4]; /* left[n]: n more digits */
    left[0] = to;
    for (int n = 1; n < 4; n++) {
        left[n] = sluice_automaton_state(a);
        build_hex(a, left[n], hex, left[n - 1]);
    }
    build_hex(a, from, "123456789abcefABCEF", left[3]);
    uint32_t zero = from;
    for (int n = 2; n >= 0; n--) {
        uint32_t next = sluice_automaton_state(a);
        build_hex(a, zero, "0", next);
        build_hex(a, next, not_0, left[n]);
        zero = next;
    }
    uint32_t d = sluice_automaton_state(a), pair = sluice_automaton_state(a);
    build_hex(a, from, "dD", d);
    build_hex(a, d, "01234567", left[2]);
    build_hex(a, d, "89abAB", pair);
    for (int n = 0; n < 2; n++) {
        uint32_t next = sluice_automaton_state(a);
        build_hex(a, pair, hex, next);
        pair = next;
    }
    uint32_t second = sluice_build_text(a, pair, "\\u"), low = sluice_automaton_state(a);
    uint32_t rest = sluice_automaton_state(a);
    build_hex(a, second, "dD", low);
    build_hex(a, low, "cdefCDEF", rest);
    sluice_automaton_empty(a, rest, left[2]);
}

static void build_escapes(sluice_automaton *a, uint32_t from, uint32_t to)
{
    uint32_t escaped = sluice_build_text(a, from, "\\");
    build_hex(a, escaped, "\"\\/bfnrt", to);
    build_unicode_escape(a, sluice_build_text(a, escaped, "u"), to);
}

uint32_t sluice_text_form_any(sluice_automaton *a, sluice_text_form form, uint32_t from)
{
    static const char tag[] = SLUICE_PARAMETER_END;
    /* The state behind each beginning of the tag; the tag has no '<' but its first. */
    enum { STATES = sizeof tag - 1 };
    uint32_t states[STATES], count = form.in_call ? STATES : 1;
    for (uint32_t i = 0; i < count; i++) {
        states[i] = sluice_automaton_state(a);
        if (i)
            sluice_automaton_bytes(a, states[i - 1], (uint8_t)tag[i - 1], (uint8_t)tag[i - 1],
                                   states[i]);
    }
    uint32_t end = sluice_automaton_state(a);
    for (uint32_t i = 0; i < count; i++) {
        sluice_characters set = {0};
        sluice_characters_add(&set, form.quoted ? 0x20 : 1, SLUICE_CHARACTER_MAX);
        sluice_characters_normalise(&set, false);
        if (form.quoted) {
            sluice_characters_remove(&set, '"');
            sluice_characters_remove(&set, '\\');
        }
        if (form.in_call) {
            sluice_characters_remove(&set, (uint8_t)tag[i]);
            sluice_characters_remove(&set, '<');
            if (i) sluice_automaton_bytes(a, states[i], '<', '<', states[1]);
        }
        sluice_characters_build(a, states[i], &set, states[0]);
        sluice_characters_free(&set);
        if (form.quoted) build_escapes(a, states[i], states[0]);
        sluice_automaton_empty(a, states[i], end);
    }
    sluice_automaton_empty(a, from, states[0]);
    return end;
}
