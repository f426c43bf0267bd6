/* sluice tokenize, sluice detokenize: text to token ids and back, from tokenizer.json alone. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "input.h"
#include "model_flags.h"
#include "output.h"

typedef struct tokenize_args {
    bool special;
} tokenize_args;

static const cli_option tokenize_options[] = {
    {"special", 0, CLI_FLAG, NULL, offsetof(tokenize_args, special), 0, 0,
     "Let text such as <|im_start|> become the special token of that name."},
    {0}};
static const cli_group tokenize_groups[] = {{"Options", tokenize_options, 0}, {0}};
static const cli_group detokenize_groups[] = {{0}};

static int print_ids(const sluice_ids *ids)
{
    putchar('[');
    for (size_t i = 0; i < ids->count; i++)
        printf(i ? ",%d" : "%d", ids->ids[i]);
    puts("]");
    return cli_output_finish();
}

static int run_tokenize(int argc, char **argv)
{
    tokenize_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_tokenize, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    sluice_tokenizer *tokenizer;
    sluice_error err = {0};
    cli_bytes text = {0};
    sluice_ids ids = {0};
    status = cli_tokenizer_open(positional[0], &tokenizer);
    if (status != CLI_OK) return status;
    status = cli_read("-", &text);
    if (status == CLI_OK) {
        sluice_special special = args.special ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER;
        if (sluice_tokenizer_encode(tokenizer, text.bytes, text.length, special, &ids, &err) ==
            SLUICE_OK)
            status = print_ids(&ids);
        else
            status = cli_fail_error(&err);
    }
    sluice_ids_free(&ids);
    free(text.bytes);
    sluice_tokenizer_close(tokenizer);
    return status;
}

static int run_detokenize(int argc, char **argv)
{
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_detokenize, argc, argv, NULL, positional);
    if (status != CLI_GO_ON) return status;

    sluice_tokenizer *tokenizer;
    sluice_error err = {0};
    sluice_text text = {0};
    cli_ids ids = {0};
    status = cli_tokenizer_open(positional[0], &tokenizer);
    if (status != CLI_OK) return status;
    status = cli_ids_read("-", true, &ids);
    if (status == CLI_OK)
        status = cli_ids_check(ids.ids, ids.count, sluice_tokenizer_vocab(tokenizer));
    if (status == CLI_OK) {
        if (sluice_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &err) ==
            SLUICE_OK) {
            fwrite(text.bytes, 1, text.length, stdout);
            status = cli_output_finish();
        } else {
            status = cli_fail_error(&err);
        }
    }
    sluice_text_free(&text);
    free(ids.ids);
    sluice_tokenizer_close(tokenizer);
    return status;
}

const cli_command cli_command_tokenize = {
    .name = "tokenize",
    .summary = "Text on stdin to a JSON array of token ids",
    .usage = "[MODEL] [--special] < text",
    .description =
        "Reads UTF-8 text from stdin and prints its token ids as a JSON array. MODEL may be any "
        "folder with a tokenizer.json; its weights are not needed. Without --special, text never "
        "turns into special tokens: that is how text from a user must be treated.",
    .examples = "printf 'Hello, world' | sluice tokenize\n"
                "printf 'Hello, world' | sluice tokenize | sluice detokenize\n"
                "printf '<|im_start|>user' | sluice tokenize models/nano --special",
    .positional_max = 1,
    .groups = tokenize_groups,
    .run = run_tokenize,
};

const cli_command cli_command_detokenize = {
    .name = "detokenize",
    .summary = "A JSON array of token ids on stdin to text",
    .usage = "[MODEL] < array",
    .description =
        "Reads token ids from stdin, as a JSON array or a list such as 1,2,3, and prints the text "
        "that they stand for, special tokens included, without adding a newline. Bytes that are "
        "not "
        "UTF-8 are printed as U+FFFD. MODEL may be any folder with a tokenizer.json.",
    .examples = "echo '[8134, 324]' | sluice detokenize",
    .positional_max = 1,
    .groups = detokenize_groups,
    .run = run_detokenize,
};
