/* Running a sequence again (see replay.h). */
#include "model/replay.h"

#include <stdlib.h>
#include <string.h>

/* How many tokens from `at` may run as one segment. was: the state as it should become. */
static int32_t segment_from(const sluice_state *was, int32_t at, int32_t rows_max)
{
    int32_t left = was->position - at, block = at / SLUICE_GDN_BLOCK;
    int32_t to_boundary = (block + 1) * SLUICE_GDN_BLOCK - at;
    if (left < to_boundary) return left;
    if (to_boundary < SLUICE_GDN_BLOCK) return to_boundary;
    if (!sluice_state_chunked(was, block)) return SLUICE_GDN_BLOCK / 2;
    int32_t count = SLUICE_GDN_BLOCK;
    while (count + SLUICE_GDN_BLOCK <= left && count + SLUICE_GDN_BLOCK <= rows_max &&
           sluice_state_chunked(was, ++block))
        count += SLUICE_GDN_BLOCK;
    return count;
}

sluice_status sluice_replay(sluice_forward *forward, sluice_state *state, int32_t rows_max,
                            sluice_error *err)
{
    static const sluice_forward_callbacks silent;
    size_t words = sluice_state_chunked_words(state->layout), n = (size_t)state->position;
    int32_t *tokens = malloc((n + 1) * sizeof *tokens);
    uint64_t *chunked = malloc(words * sizeof *chunked);
    sluice_status status = SLUICE_OK;
    if (!tokens || !chunked) {
        free(tokens);
        free(chunked);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to run %zu tokens again", n);
    }
    memcpy(tokens, state->tokens, n * sizeof *tokens);
    memcpy(chunked, state->chunked, words * sizeof *chunked);
    const sluice_state was = {
        .layout = state->layout, .position = state->position, .tokens = tokens, .chunked = chunked};

    sluice_state_clear(state);
    while (status == SLUICE_OK && state->position < was.position) {
        int32_t at = state->position, count = segment_from(&was, at, rows_max);
        sluice_forward_part part = {state, tokens + at, count, count, 0};
        status = sluice_forward_run(forward, &part, 1, &silent, err);
    }
    if (status != SLUICE_OK) {
        state->position = was.position;
        state->stale = true;
        memcpy(state->tokens, tokens, n * sizeof *tokens);
        memcpy(state->chunked, chunked, words * sizeof *chunked);
    }
    free(tokens);
    free(chunked);
    return status;
}
