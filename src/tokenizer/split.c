/* One Split pre-tokenizer through PCRE2: see split.h. */
#include "tokenizer/split.h"

#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer/pattern.h"

/* Patterns in use need none of it; the maximum is for hostile ones. */
#define JIT_STACK_MIN (32 * 1024)
#define JIT_STACK_MAX (1024 * 1024)
#define MATCH_LIMIT 50000000

struct sluice_split {
    pcre2_code *code;
};

static sluice_status compile(const char *name, const sluice_text_buffer *pattern, bool literal,
                             pcre2_code **code, sluice_error *err)
{
    /* Ruby's ^ and $ stand at lines, its dot stops at \n alone. */
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
    options |= literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    int error;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a pattern", name);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    *code = pcre2_compile((PCRE2_SPTR)pattern->bytes, pattern->length, options, &error, &offset,
                          context);
    pcre2_compile_context_free(context);
    if (!*code) {
        PCRE2_UCHAR reason[160];
        pcre2_get_error_message(error, reason, sizeof reason);
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: cannot compile the pattern of a Split pre-tokenizer: %s", name,
                           (const char *)reason);
    }
    /* Without a JIT for this machine PCRE2 interprets, with the same result. */
    pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
    return SLUICE_OK;
}

sluice_status sluice_split_new(const char *name, const char *pattern, size_t length, bool literal,
                               sluice_split **out, sluice_error *err)
{
    *out = NULL;
    if (!length) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: a Split pre-tokenizer has no pattern", name);
    }
    sluice_text_buffer rewritten = {0};
    sluice_status status = SLUICE_OK;
    if (literal) {
        sluice_text_buffer_append(&rewritten, pattern, length);
    } else {
        status = sluice_pattern_rewrite(name, pattern, length, &rewritten, err);
    }
    sluice_split *split = malloc(sizeof *split);
    if (status == SLUICE_OK && (!split || rewritten.failed)) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for a pattern", name);
    }
    if (status == SLUICE_OK) status = compile(name, &rewritten, literal, &split->code, err);
    sluice_text_buffer_free(&rewritten);
    if (status == SLUICE_OK) {
        *out = split;
    } else {
        free(split);
    }
    return status;
}

void sluice_split_free(sluice_split *split)
{
    if (!split) return;
    pcre2_code_free(split->code);
    free(split);
}

static sluice_status prepare(sluice_split_scratch *scratch, sluice_error *err)
{
    /* Only the whole match is asked for; groups beyond it are dropped. */
    scratch->match = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    scratch->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!scratch->match || !scratch->context) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to split text");
    }
    pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
    if (scratch->stack) pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
    return SLUICE_OK;
}

void sluice_split_scratch_free(sluice_split_scratch *scratch)
{
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    pcre2_jit_stack_free(scratch->stack);
    *scratch = (sluice_split_scratch){0};
}

sluice_status sluice_split_find(const sluice_split *split, sluice_split_scratch *scratch,
                                const char *text, size_t length, size_t from, size_t *begin,
                                size_t *end, sluice_error *err)
{
    if (!scratch->match || !scratch->context) SLUICE_TRY(prepare(scratch, err));
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int found = pcre2_match(split->code, (PCRE2_SPTR)text, length, from, options, scratch->match,
                            scratch->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        found = pcre2_match(split->code, (PCRE2_SPTR)text, length, from, options | PCRE2_NO_JIT,
                            scratch->match, scratch->context);
    }
    *begin = *end = length;
    if (found == PCRE2_ERROR_NOMATCH) return SLUICE_OK;
    if (found == PCRE2_ERROR_NOMEMORY) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to split text");
    }
    if (found < 0) {
        PCRE2_UCHAR reason[160];
        pcre2_get_error_message(found, reason, sizeof reason);
        return sluice_fail(err, SLUICE_LIMIT, "the tokenizer's pattern gives up on the text: %s",
                           (const char *)reason);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(scratch->match);
    *begin = range[0];
    *end = range[1];
    return SLUICE_OK;
}
