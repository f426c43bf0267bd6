/* Merges on their way into the table: see merge_batch.h. */
#include "tokenizer/merge_batch.h"

#include <inttypes.h>

void sluice_merge_batch_free(sluice_merge_batch *batch)
{
    sluice_text_buffer_free(&batch->bytes);
}

void sluice_merge_batch_side(sluice_merge_batch *batch, int side, const char *spelling,
                             size_t length)
{
    size_t offset = batch->bytes.length;
    bool literal = sluice_vocab_spell(spelling, length, &batch->bytes);
    if (batch->bytes.failed) return;
    size_t bytes = batch->bytes.length - offset;
    uint64_t key = sluice_vocab_key(batch->bytes.bytes + offset, bytes, literal);
    batch->sides[batch->count][side] = (sluice_merge_side){offset, bytes, key, literal};
    sluice_vocab_announce(batch->vocab, key);
}

static int32_t find_side(const sluice_merge_batch *batch, const sluice_merge_side *side)
{
    return sluice_vocab_find_key(batch->vocab, side->key, batch->bytes.bytes + side->offset,
                                 side->length, side->literal);
}

/* A right guess saves one look-up of three. */
static int32_t find_merged(sluice_merge_batch *batch, const char *bytes, size_t length)
{
    const sluice_vocab *vocab = batch->vocab;
    size_t guessed_length = 0;
    const char *guessed = sluice_vocab_token(vocab, batch->guess, &guessed_length);
    bool right = guessed && guessed_length == length && !vocab->entries[batch->guess].literal &&
                 memcmp(guessed, bytes, length) == 0;
    int32_t id = right ? batch->guess : sluice_vocab_find(vocab, bytes, length, false);
    batch->guess = id + 1;
    return id;
}

static sluice_status add(sluice_merge_batch *batch, size_t index, const int32_t ids[2],
                         sluice_error *err)
{
    const sluice_merge_side *left = &batch->sides[index][0], *right = &batch->sides[index][1];
    uint32_t rank = batch->rank - (uint32_t)(batch->count - index);
    if (!left->length || !right->length) {
        return sluice_fail(err, SLUICE_CORRUPT, "%s: merge %" PRIu32 " has an empty side",
                           batch->name, rank);
    }
    /* A literal token is never met in text, so merges of one never apply. */
    if (ids[0] >= 0 && ids[1] >= 0 && (left->literal || right->literal)) return SLUICE_OK;
    const char *bytes = batch->bytes.bytes + left->offset;
    size_t length = left->length + right->length;
    int32_t merged = find_merged(batch, bytes, length);
    if (ids[0] < 0 || ids[1] < 0 || merged < 0) {
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: merge %" PRIu32 " (\"%.*s\") %s, which is not in the vocabulary",
                           batch->name, rank, length > 60 ? 60 : (int)length, bytes,
                           ids[0] < 0   ? "has a left side"
                           : ids[1] < 0 ? "has a right side"
                                        : "gives a token");
    }
    if (!sluice_bpe_add_merge(batch->bpe, ids[0], ids[1], rank, merged)) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the merges", batch->name);
    }
    return SLUICE_OK;
}

sluice_status sluice_merge_batch_flush(sluice_merge_batch *batch, sluice_error *err)
{
    int32_t ids[SLUICE_MERGE_BATCH][2];
    if (batch->bytes.failed) {
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for the merges", batch->name);
    }
    for (size_t i = 0; i < batch->count; i++) {
        ids[i][0] = find_side(batch, &batch->sides[i][0]);
        ids[i][1] = find_side(batch, &batch->sides[i][1]);
        sluice_bpe_announce(batch->bpe, ids[i][0], ids[i][1]);
    }
    for (size_t i = 0; i < batch->count; i++)
        SLUICE_TRY(add(batch, i, ids[i], err));
    batch->count = 0;
    batch->bytes.length = 0;
    return SLUICE_OK;
}

sluice_status sluice_merge_batch_next(sluice_merge_batch *batch, sluice_error *err)
{
    batch->rank++;
    batch->count++;
    return batch->count == SLUICE_MERGE_BATCH ? sluice_merge_batch_flush(batch, err) : SLUICE_OK;
}
