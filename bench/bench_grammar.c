/* How long masks of tokens take, as CSV: for Nano's vocabulary and for one of 250,000 tokens made
 * from it (pairs of Nano's tokens, and words of two to four characters of other scripts).
 *
 * Each grammar follows a text that fits it, cut into the longest tokens, and asks for the mask
 * before each: the first time with nothing kept, as a request with a new schema does, then again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "sluice/grammar.h"
#include "sluice/text.h"
#include "tokenizer/text_buffer.h"

#define NANO SLUICE_SOURCE_DIR "/models/nano/tokenizer.json"
#define LARGE 250000
#define MASKS_MAX 4096

/* Of this thread alone: what else runs on the machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench_grammar: %s\n", what);
    exit(1);
}

static void check(sluice_status status, const sluice_error *err)
{
    if (status != SLUICE_OK) die(err->detail);
}

static const char order[] =
    "{\"type\":\"object\",\"properties\":{\"customer\":{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\"},\"email\":{\"type\":\"string\",\"format\":\"email\"},"
    "\"since\":{\"type\":\"string\",\"format\":\"date\"}},\"required\":[\"name\",\"since\"]},"
    "\"items\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"properties\":{"
    "\"title\":{\"type\":\"string\",\"maxLength\":80},\"quantity\":{\"type\":\"integer\","
    "\"minimum\":1,\"maximum\":500},\"price\":{\"type\":\"number\"},\"tags\":{\"type\":\"array\","
    "\"items\":{\"type\":\"string\"}}},\"required\":[\"title\",\"quantity\",\"price\"]}},"
    "\"status\":{\"enum\":[\"open\",\"paid\",\"shipped\"]},\"note\":{\"type\":\"string\"}},"
    "\"required\":[\"customer\",\"items\",\"status\"]}";
static const char order_text[] =
    "{\"customer\": {\"name\": \"Ada Lovelace\", \"email\": "
    "\"ada.lovelace@analytical.example.org\","
    " \"since\": \"1842-10-05\"}, \"items\": [{\"title\": \"Punched cards, a box of one hundred\", "
    "\"quantity\": 12, \"price\": 3.75, \"tags\": [\"paper\", \"storage\"]}, {\"title\": \"Brass "
    "gear wheel\", \"quantity\": 480, \"price\": 1.2e2}], \"status\": \"paid\", \"note\": \"Please "
    "deliver to the workshop behind the house; the bell does not ring, so knock \\\"loudly\\\".\"}";
static const char tools[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"send_email\",\"parameters\":{\"type\":"
    "\"object\",\"properties\":{\"to\":{\"type\":\"string\"},\"subject\":{\"type\":\"string\"},"
    "\"body\":{\"type\":\"string\"},\"copies\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
    "},"
    "\"required\":[\"to\",\"body\"]}}},{\"type\":\"function\",\"function\":{\"name\":\"set_timer\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"minutes\":{\"type\":\"integer\"}},"
    "\"required\":[\"minutes\"]}}}]";
static const char tools_text[] =
    "I will write to her at once, and set a timer so that we do not forget to look for the "
    "answer.\n\n<tool_call>\n<function=send_email>\n<parameter=to>\nada@example.org\n</parameter>\n"
    "<parameter=subject>\nThe engine\n</parameter>\n<parameter=body>\nDear Ada,\n\nthe engine is "
    "<b>ready</b>. Will you come and see it on "
    "Monday?\n</parameter>\n<parameter=copies>\n[\"Charles"
    "\", \"Michael\"]\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=set_timer>\n"
    "<parameter=minutes>\n90\n</parameter>\n</function>\n</tool_call>";

static const struct {
    const char *name;
    sluice_answer answer;
    const char *text;
} cases[] = {
    {"schema",
     {.content = SLUICE_ANSWER_SCHEMA, .source = order, .source_length = sizeof order - 1},
     order_text},
    {"object", {.content = SLUICE_ANSWER_OBJECT}, order_text},
    {"tools", {.tools = tools, .tools_length = sizeof tools - 1}, tools_text},
};

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file) die("no tokenizer of Nano");
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*length + 1);
    if (!bytes || fread(bytes, 1, *length, file) != *length) die("cannot read Nano's tokenizer");
    fclose(file);
    return bytes;
}

/* A byte as tokenizer.json spells it. */
static void spell(sluice_text_buffer *to, uint8_t byte)
{
    bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    uint32_t shift = byte <= 0x20 ? byte : byte <= 0xA0 ? byte - 0x7Fu + 33 : 67;
    if (byte == '"' || byte == '\\') sluice_text_buffer_append_byte(to, '\\');
    sluice_text_buffer_append_character(to, plain ? byte : 256 + shift);
}

static void add_token(sluice_text_buffer *to, const sluice_text_buffer *token, int id)
{
    char tail[32];
    sluice_text_buffer_append_string(to, id ? ",\"" : "\"");
    for (size_t i = 0; i < token->length; i++)
        spell(to, (uint8_t)token->bytes[i]);
    snprintf(tail, sizeof tail, "\":%d", id);
    sluice_text_buffer_append_string(to, tail);
}

/* A token of the large vocabulary that is not one of Nano's. */
static void make_token(const sluice_tokenizer *nano, sluice_rng *rng, sluice_text_buffer *token)
{
    token->length = 0;
    if (sluice_rng_below(rng, 10) < 3) {
        static const uint32_t first[] = {0x4E00, 0x0410, 0x0621, 0xAC00},
                              count[] = {6000, 64, 40, 9000};
        size_t script = sluice_rng_below(rng, 4), length = 2 + sluice_rng_below(rng, 3);
        while (length--) {
            uint32_t character = first[script] + (uint32_t)sluice_rng_below(rng, count[script]);
            sluice_text_buffer_append_character(token, character);
        }
        return;
    }
    for (int part = 0; part < 2; part++) {
        size_t length;
        const char *bytes =
            sluice_tokenizer_token(nano, 256 + (int32_t)sluice_rng_below(rng, 7900), &length);
        if (bytes) sluice_text_buffer_append(token, bytes, length);
    }
}

static int by_text(const void *a, const void *b)
{
    const sluice_text_buffer *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int difference = memcmp(x->bytes, y->bytes, shorter);
    return difference ? difference : (x->length > y->length) - (x->length < y->length);
}

static sluice_tokenizer *make_large(const sluice_tokenizer *nano)
{
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    static sluice_text_buffer tokens[2 * LARGE];
    size_t count = 0;
    for (int32_t id = 0; id < 8176; id++) {
        size_t length;
        const char *bytes = sluice_tokenizer_token(nano, id, &length);
        if (bytes) sluice_text_buffer_append(&tokens[count++], bytes, length);
    }
    while (count < LARGE + LARGE / 4)
        make_token(nano, &rng, &tokens[count++]);
    qsort(tokens, count, sizeof *tokens, by_text);
    sluice_text_buffer json = {0};
    sluice_text_buffer_append_string(
        &json,
        "{\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        "false,\"trim_offsets\":false,\"use_regex\":false},\"decoder\":{\"type\":"
        "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false,\"use_regex\":false},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    int id = 0;
    for (size_t i = 0; i < count && id < LARGE; i++) {
        if (i && by_text(&tokens[i - 1], &tokens[i]) == 0) continue;
        add_token(&json, &tokens[i], id++);
    }
    char tail[512];
    snprintf(
        tail, sizeof tail,
        "},\"merges\":[]},\"added_tokens\":[{\"id\":%d,\"content\":\"<tool_call>\",\"special\":"
        "false,\"normalized\":false,\"lstrip\":false,\"rstrip\":false,\"single_word\":false},"
        "{\"id\":%d,\"content\":\"</tool_call>\",\"special\":false,\"normalized\":false,"
        "\"lstrip\":false,\"rstrip\":false,\"single_word\":false}]}",
        id, id + 1);
    sluice_text_buffer_append_string(&json, tail);
    sluice_tokenizer *tokenizer;
    sluice_error err = {0};
    if (json.failed) die("no memory");
    check(sluice_tokenizer_open_bytes("large", json.bytes, json.length, &tokenizer, &err), &err);
    sluice_text_buffer_free(&json);
    for (size_t i = 0; i < count; i++)
        sluice_text_buffer_free(&tokens[i]);
    return tokenizer;
}

/* The longest allowed token at the beginning of a text. */
static int32_t longest(const sluice_tokenizer *tokenizer, const uint32_t *mask, const char *text,
                       size_t *length)
{
    int32_t best = -1;
    *length = 0;
    for (int32_t id = 0; id < sluice_tokenizer_vocab(tokenizer); id++) {
        if (!(mask[id / 32] >> (id % 32) & 1)) continue;
        size_t own = 0;
        const char *bytes = sluice_tokenizer_token(tokenizer, id, &own);
        if (!bytes || own <= *length || strncmp(bytes, text, own) != 0) continue;
        best = id;
        *length = own;
    }
    return best;
}

static int by_time(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const char *vocabulary, const char *name, const char *phase, double *us, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += us[i];
    qsort(us, (size_t)n, sizeof *us, by_time);
    printf("%s,%s,%s,%d,%.1f,%.1f,%.1f,%.1f\n", vocabulary, name, phase, n, sum / n, us[n / 2],
           us[n * 95 / 100], us[n - 1]);
}

static void run_case(const char *vocabulary, const sluice_tokenizer *tokenizer,
                     const sluice_token_trie *trie, size_t index)
{
    static const char *const phases[] = {"first", "again"};
    static double us[MASKS_MAX];
    sluice_grammar *grammar;
    sluice_constraint *constraint;
    sluice_error err = {0};
    uint64_t start = cpu_ns();
    check(sluice_grammar_new(&cases[index].answer, &grammar, &err), &err);
    us[0] = (double)(cpu_ns() - start) / 1000;
    report(vocabulary, cases[index].name, "compile", us, 1);
    check(sluice_constraint_new(grammar, trie, NULL, 0, &constraint, &err), &err);
    for (int phase = 0; phase < 2; phase++) {
        int n = 0;
        sluice_constraint_restart(constraint);
        for (const char *at = cases[index].text; *at && n < MASKS_MAX; n++) {
            const uint32_t *mask;
            size_t length;
            start = cpu_ns();
            check(sluice_constraint_mask(constraint, INT32_MAX, &mask, &err), &err);
            us[n] = (double)(cpu_ns() - start) / 1000;
            int32_t id = longest(tokenizer, mask, at, &length);
            if (id < 0) die("a text does not fit its grammar");
            check(sluice_constraint_accept(constraint, id, &err), &err);
            at += length;
        }
        if (!sluice_constraint_is_complete(constraint)) die("a text is no whole answer");
        report(vocabulary, cases[index].name, phases[phase], us, n);
    }
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void run(const char *vocabulary, const sluice_tokenizer *tokenizer)
{
    sluice_token_trie *trie;
    sluice_error err = {0};
    uint64_t start = cpu_ns();
    check(sluice_token_trie_new(tokenizer, &trie, &err), &err);
    double us = (double)(cpu_ns() - start) / 1000;
    report(vocabulary, "", "trie", &us, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(vocabulary, tokenizer, trie, i);
    sluice_token_trie_free(trie);
}

int main(void)
{
    size_t length;
    char *json = read_file(NANO, &length);
    sluice_tokenizer *nano;
    sluice_error err = {0};
    check(sluice_tokenizer_open_bytes(NANO, json, length, &nano, &err), &err);
    free(json);
    sluice_tokenizer *large = make_large(nano);
    printf("vocabulary,grammar,phase,count,mean_us,median_us,p95_us,max_us\n");
    run("nano", nano);
    run("250k", large);
    sluice_tokenizer_close(large);
    sluice_tokenizer_close(nano);
    return 0;
}
