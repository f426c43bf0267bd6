/* Fuzzes the reader of remembered answers (files of --state): damage is refused, and what is read
 * can be written again, the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/hash.h"
#include "server/replay_file.h"

enum { VOCAB = 8192 };

static void read_and_write(const uint8_t *data, size_t size)
{
    server_replay_record record = {0};
    sluice_error err = {0};
    if (server_replay_decode("fuzz", data, size, VOCAB, &record, &err) != SLUICE_OK) {
        if (!err.detail[0]) abort();
        return;
    }
    size_t count = 0;
    void *again = server_replay_encode(&record, &count);
    server_replay_record twice = {0};
    if (!again || server_replay_decode("fuzz", again, count, VOCAB, &twice, &err) != SLUICE_OK ||
        twice.count != record.count || twice.key_length != record.key_length ||
        memcmp(twice.tokens, record.tokens, record.count * sizeof *record.tokens) != 0)
        abort();
    free(again);
    server_replay_record_free(&record);
    server_replay_record_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_and_write(data, size);
    if (size < sizeof(uint64_t)) return 0;
    uint8_t *sealed = malloc(size); /* with the checksum that it needs to get further */
    if (!sealed) return 0;
    memcpy(sealed, data, size);
    uint64_t sum = server_hash(SERVER_HASH_START, sealed, size - sizeof sum);
    memcpy(sealed + size - sizeof sum, &sum, sizeof sum);
    read_and_write(sealed, size);
    free(sealed);
    return 0;
}
