/* See synth_text.h. Token b is the byte b; then come the special tokens that templates use. The
 * other ids of the vocabulary have no text, as the last ones of the published models have none. */
#include "format/synth_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/geometry.h"
#include "os/file.h"

static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>",
                                       "</think>"};

/* How a byte is spelled in a byte-level vocabulary (GPT-2): printable Latin-1 characters stand for
 * themselves, the others for the characters from U+0100 on, in order. */
static void spell(int byte, int *others, char out[3])
{
    bool itself = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    int point = itself ? byte : 256 + (*others)++;
    if (point < 128) {
        out[0] = (char)point;
        out[1] = '\0';
    } else {
        out[0] = (char)(0xc0 | point >> 6);
        out[1] = (char)(0x80 | (point & 63));
        out[2] = '\0';
    }
}

static json_t *make_vocab(void)
{
    json_t *vocab = json_object();
    int others = 0;
    for (int byte = 0; byte < 256; byte++) {
        char key[3];
        spell(byte, &others, key);
        json_object_set_new(vocab, key, json_integer(byte));
    }
    return vocab;
}

static json_t *make_added(void)
{
    json_t *added = json_array();
    for (int i = 0; i < (int)(sizeof specials / sizeof *specials); i++)
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 256 + i,
                                               "content", specials[i], "single_word", 0, "lstrip",
                                               0, "rstrip", 0, "normalized", 0, "special", i < 3));
    return added;
}

static json_t *make_tokenizer(void)
{
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s},"
                     " s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", make_added(),
                     "normalizer", "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0, "post_processor", "decoder", "type",
                     "ByteLevel", "model", "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", 0, "vocab", make_vocab(), "merges");
}

static sluice_status save(const char *dir, const char *name, const char *text, sluice_error *err)
{
    char *path = text ? sluice_file_join(dir, name) : NULL;
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a %s", name);
    sluice_status status = sluice_file_save(path, text, strlen(text), err);
    free(path);
    return status;
}

sluice_status sluice_synth_write_text(const char *dir, const sluice_config *config,
                                      sluice_error *err)
{
    char *text = NULL;
    SLUICE_TRY(sluice_geometry_print(config, &text, err));
    sluice_status status = save(dir, "config.json", text, err);
    free(text);
    SLUICE_TRY(status);
    json_t *tokenizer = make_tokenizer();
    text = json_dumps(tokenizer, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    json_decref(tokenizer);
    status = save(dir, "tokenizer.json", text, err);
    free(text);
    return status;
}
