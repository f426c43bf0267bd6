/* Strings of a schema: lengths, patterns and formats. */
#include <stdio.h>

#include "grammar/regex.h"
#include "grammar/schema.h"

/* Shapes of formats, by RFC 3339, RFC 4122 and RFC 5321 (without quoted and international forms).
 */
#define YEAR_DATE                                                                                  \
    "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-" \
    "9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468]"  \
    "[048]|[13579][26])00)-02-29)"
#define DAY_TIME                                                                                   \
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):["  \
    "0-5][0-9])"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" YEAR_DATE "$"},
    {"time", "^" DAY_TIME "$"},
    {"date-time", "^" YEAR_DATE "T" DAY_TIME "$"},
    {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
    {"email",
     "^[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,32}){0,3}@" LABEL "(?:\\." LABEL "){1,4}$"},
    {"hostname", "^" LABEL "(?:\\." LABEL "){0,7}$"},
    {"ipv4", "^" OCTET "(?:\\." OCTET "){3}$"},
};

static sluice_status build_pattern(sluice_schema_builder *b, const char *pattern, size_t length,
                                   sluice_text_form form, uint32_t from, uint32_t *to)
{
    /* The path goes into the sentence through the place. */
    char place[240];
    size_t shown = b->path.length < 160 ? b->path.length : 160;
    snprintf(place, sizeof place, "%s%s%.*s", b->what, shown ? " at " : "", (int)shown,
             shown ? b->path.bytes + b->path.length - shown : "");
    return sluice_regex_build(b->a, form, from, pattern, length, place, to, b->err);
}

static sluice_status build_format(sluice_schema_builder *b, const sluice_json_value *format,
                                  sluice_text_form form, uint32_t from, uint32_t *to)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!sluice_json_is_string(format, formats[i].name)) continue;
        return build_pattern(b, formats[i].pattern, strlen(formats[i].pattern), form, from, to);
    }
    if (format->kind != SLUICE_JSON_IS_STRING) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "format is no string");
    }
    return sluice_schema_refuse(b, SLUICE_UNSUPPORTED, "the format %.*s is not supported",
                                (int)(format->length < 64 ? format->length : 64), format->text);
}

static sluice_status build_length(sluice_schema_builder *b, uint32_t min, uint32_t max,
                                  sluice_text_form form, uint32_t from, uint32_t *to)
{
    if (max < min) return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "maxLength is below minLength");
    uint32_t start = sluice_automaton_state(b->a), end = sluice_automaton_state(b->a);
    sluice_characters any = {0};
    sluice_characters_normalise(&any, true);
    sluice_text_form_build(b->a, form, start, &any, end);
    sluice_characters_free(&any);
    uint32_t character = sluice_automaton_rule(b->a, NULL, start, end);
    *to = sluice_build_repeat(b->a, from, character, min, max);
    return SLUICE_OK;
}

static sluice_status build_text(sluice_schema_builder *b, const sluice_json_value *schema,
                                sluice_text_form form, uint32_t from, uint32_t *to)
{
    const sluice_json_value *pattern = sluice_json_get(schema, "pattern");
    const sluice_json_value *format = sluice_json_get(schema, "format");
    uint32_t min, max;
    SLUICE_TRY(sluice_schema_count(b, schema, "minLength", 0, &min));
    SLUICE_TRY(sluice_schema_count(b, schema, "maxLength", UINT32_MAX, &max));
    bool bounded = min > 0 || max != UINT32_MAX;
    if ((pattern != NULL) + (format != NULL) + bounded > 1) {
        return sluice_schema_refuse(b, SLUICE_UNSUPPORTED,
                                    "only one of pattern, format and a length is supported");
    }
    if (format) return build_format(b, format, form, from, to);
    if (bounded) return build_length(b, min, max, form, from, to);
    if (!pattern) {
        *to = sluice_text_form_any(b->a, form, from);
        return SLUICE_OK;
    }
    if (pattern->kind != SLUICE_JSON_IS_STRING) {
        return sluice_schema_refuse(b, SLUICE_BAD_INPUT, "pattern is no string");
    }
    return build_pattern(b, pattern->text, pattern->length, form, from, to);
}

static bool is_free(const sluice_json_value *schema)
{
    static const char *const limits[] = {"pattern", "format", "minLength", "maxLength"};
    for (size_t i = 0; i < 4; i++)
        if (sluice_json_get(schema, limits[i])) return false;
    return true;
}

sluice_status sluice_schema_string(sluice_schema_builder *b, const sluice_json_value *schema,
                                   sluice_schema_form form, uint32_t from, uint32_t *to)
{
    sluice_text_form written = {.quoted = form == SLUICE_SCHEMA_JSON, .in_call = b->json->in_call};
    if (!written.quoted) return build_text(b, schema, written, from, to);
    if (is_free(schema)) {
        *to = sluice_build_call(b->a, from, sluice_json_rules_string(b->json));
        return SLUICE_OK;
    }
    uint32_t inside = sluice_build_text(b->a, from, "\""), behind;
    SLUICE_TRY(build_text(b, schema, written, inside, &behind));
    *to = sluice_build_text(b->a, behind, "\"");
    return SLUICE_OK;
}
