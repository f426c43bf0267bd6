/* Reading files and id lists; see input.h. */
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

static const size_t bytes_max = (size_t)1 << 30;

static int read_stream(FILE *file, const char *name, cli_bytes *out)
{
    size_t capacity = 0, length = 0;
    char *bytes = NULL;
    do {
        if (length + 1 >= capacity) {
            capacity = capacity ? capacity * 2 : 65536;
            char *grown = realloc(bytes, capacity);
            if (!grown) {
                free(bytes);
                return cli_fail("%s: not enough memory to read it", name);
            }
            bytes = grown;
        }
        errno = 0;
        length += fread(bytes + length, 1, capacity - length - 1, file);
    } while (!feof(file) && !ferror(file) && length <= bytes_max);
    if (ferror(file) || length > bytes_max) {
        int error = errno;
        free(bytes);
        if (length > bytes_max) return cli_fail("%s: larger than 1 GiB", name);
        return cli_fail("%s: %s", name, error ? strerror(error) : "reading failed");
    }
    bytes[length] = '\0';
    *out = (cli_bytes){bytes, length};
    return CLI_OK;
}

int cli_read(const char *path, cli_bytes *out)
{
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", out);
    FILE *file = fopen(path, "rb");
    if (!file) return cli_fail("%s: %s", path, strerror(errno));
    int status = read_stream(file, path, out);
    fclose(file);
    return status;
}

static const char separators[] = " \t\r\n";

/* Skips white space, at most one comma, white space; *comma says whether there was one. */
static const char *skip_separator(const char *at, bool *comma)
{
    at += strspn(at, separators);
    *comma = *at == ',';
    if (*comma) at += 1 + strspn(at + 1, separators);
    return at;
}

static int bad_list(const char *at)
{
    int length = (int)strcspn(at, "\r\n");
    if (length == 0) return cli_fail("the list of token ids ends too early");
    return cli_fail("a list of token ids such as 1,2,3 is needed, not '%.*s'",
                    length < 20 ? length : 20, at);
}

static int parse_ids(const char *text, cli_ids *list)
{
    const char *at = text + strspn(text, separators);
    bool bracket = *at == '[', comma = false;
    if (bracket) at += 1 + strspn(at + 1, separators);
    while (*at >= '0' && *at <= '9') {
        char *end;
        errno = 0;
        long long id = strtoll(at, &end, 10);
        if (errno != 0 || id > INT32_MAX)
            return cli_fail("token id %.*s is too large", (int)(end - at < 40 ? end - at : 40), at);
        list->ids[list->count++] = (int32_t)id;
        if (*end != '\0' && !strchr(" \t\r\n,]", *end)) return bad_list(at);
        at = skip_separator(end, &comma);
    }
    if (comma) return bad_list(at);
    if (bracket && *at != ']') return bad_list(at);
    if (bracket) at += 1 + strspn(at + 1, separators);
    return *at == '\0' ? CLI_OK : bad_list(at);
}

int cli_ids_read(const char *list, bool may_be_empty, cli_ids *out)
{
    cli_bytes input = {0};
    bool from_stdin = strcmp(list, "-") == 0;
    if (from_stdin) {
        int status = cli_read("-", &input);
        if (status != CLI_OK) return status;
        if (memchr(input.bytes, '\0', input.length)) {
            free(input.bytes);
            return cli_fail("standard input: a NUL byte in a list of token ids");
        }
        list = input.bytes;
    }
    /* Every id but the last takes two bytes at least. */
    cli_ids ids = {.ids = malloc((strlen(list) / 2 + 1) * sizeof *ids.ids)};
    int status = ids.ids ? parse_ids(list, &ids) : cli_fail("not enough memory for the token ids");
    if (status == CLI_OK && ids.count == 0 && !may_be_empty)
        status = cli_fail("the list of token ids is empty");
    free(input.bytes);
    if (status != CLI_OK) {
        free(ids.ids);
        return from_stdin ? status : CLI_USAGE;
    }
    *out = ids;
    return CLI_OK;
}

int cli_ids_check(const int32_t *ids, size_t count, int32_t vocab)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return cli_fail("token id %d (number %zu of the list) is not one of the model's: they "
                            "are 0 to %d",
                            ids[i], i + 1, vocab - 1);
    return CLI_OK;
}
