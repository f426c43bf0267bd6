/* The smallest useful program with sluice as a library: answers one question, word by word.
 *
 *     cc generate.c $(pkg-config --static --cflags --libs sluice) -o generate
 *     ./generate [MODEL [QUESTION]]
 *
 * MODEL is a folder, converted or as downloaded; without it the bundled Nano answers. Everything
 * fallible returns a sluice_status and puts one sentence into a sluice_error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/sluice.h"

/* What the callback needs: the detokenizer holds back characters that are not complete yet. */
static bool print_token(void *context, int32_t token)
{
    const char *text;
    size_t length;
    if (sluice_detokenizer_push(context, token, &text, &length, NULL) != SLUICE_OK) return false;
    fwrite(text, 1, length, stdout);
    fflush(stdout);
    return true; /* false would stop the answer here */
}

/* The tokens of a chat request. Only the template's own parts may become special tokens, so that a
 * question cannot pretend to be something else. */
static sluice_status encode_request(const sluice_tokenizer *tokenizer, const char *request,
                                    sluice_ids *ids, sluice_error *err)
{
    sluice_prompt prompt;
    sluice_status status = sluice_chat_render(request, strlen(request), &prompt, err);
    if (status != SLUICE_OK) return status;
    status = sluice_tokenizer_encode_trusted(tokenizer, prompt.text.bytes, prompt.text.length,
                                             prompt.trusted, prompt.trusted_count, ids, err);
    sluice_prompt_free(&prompt);
    return status;
}

static sluice_status answer(sluice_engine *engine, const sluice_ids *prompt, sluice_error *err)
{
    enum { TOKENS_MAX = 64 };
    int32_t ids[TOKENS_MAX], count;
    sluice_finish finish;
    sluice_session *session = NULL;
    sluice_detokenizer *detokenizer = NULL;
    sluice_status status = sluice_session_open(engine, &session, err);
    if (status != SLUICE_OK) return status;
    status = sluice_detokenizer_new(sluice_engine_tokenizer(engine), true, &detokenizer, err);
    if (status == SLUICE_OK) {
        sluice_generation generation = {.prompt = prompt->ids,
                                        .prompt_count = (int32_t)prompt->count,
                                        .tokens_max = TOKENS_MAX,
                                        .sampling = sluice_sampling_greedy(),
                                        .on_token = print_token,
                                        .context = detokenizer};
        status = sluice_generate(session, &generation, ids, &count, &finish, err);
        putchar('\n');
        sluice_detokenizer_free(detokenizer);
    }
    sluice_session_close(session);
    return status;
}

int main(int argc, char **argv)
{
    const char *model = argc > 1 ? argv[1] : NULL;
    const char *question = argc > 2 ? argv[2] : "What is the capital of France?";
    char request[4096];
    sluice_error err = {0};
    sluice_engine *engine = NULL;
    sluice_ids ids = {0};

    /* Real programs make JSON with a library; here a question must do without " and \. */
    if (strpbrk(question, "\"\\\n") || strlen(question) > 2048) return 2;
    snprintf(request, sizeof request,
             "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], "
             "\"add_generation_prompt\": true, \"enable_thinking\": false}",
             question);

    sluice_engine_options options = sluice_engine_options_default();
    options.cache_bytes = 4 << 20; /* 4 MiB of experts in memory; the rest streams from disk */
    sluice_status status = sluice_engine_open(model, &options, &engine, &err);
    if (status == SLUICE_OK)
        status = encode_request(sluice_engine_tokenizer(engine), request, &ids, &err);
    if (status == SLUICE_OK) status = answer(engine, &ids, &err);
    if (status != SLUICE_OK) fprintf(stderr, "%s: %s\n", sluice_status_name(status), err.detail);
    sluice_ids_free(&ids);
    if (engine) sluice_engine_close(engine);
    return status == SLUICE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
