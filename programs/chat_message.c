/* Messages of one or several lines, put together from lines; see chat_line.h. */
#include <stdlib.h>
#include <string.h>

#include "chat_line.h"

static const char quotes[] = "\"\"\"";
enum { QUOTES = 3 };

static bool append(cli_message *message, const char *text, size_t length, bool newline)
{
    char *grown = realloc(message->text, message->length + length + 2);
    if (!grown) return false;
    memcpy(grown + message->length, text, length);
    message->text = grown;
    message->length += length;
    if (newline) grown[message->length++] = '\n';
    grown[message->length] = '\0';
    return true;
}

static bool ends_with_quotes(const char *line, size_t length)
{
    return length >= QUOTES && memcmp(line + length - QUOTES, quotes, QUOTES) == 0;
}

/* Lines up to one that ends with quotes, or to the end of the input. */
static cli_line_result read_block(cli_line_reader *reader, cli_message *message, const char *first,
                                  size_t first_length)
{
    message->block = true;
    if (ends_with_quotes(first, first_length))
        return append(message, first, first_length - QUOTES, false) ? CLI_LINE_OK
                                                                    : CLI_LINE_NO_MEMORY;
    if (!append(message, first, first_length, first_length > 0)) return CLI_LINE_NO_MEMORY;
    for (;;) {
        char *line;
        size_t length;
        cli_line_result result = cli_line_read(reader, "\"\"\" ", &line, &length);
        if (result == CLI_LINE_END) return CLI_LINE_OK;
        if (result != CLI_LINE_OK) return result;
        bool last = ends_with_quotes(line, length);
        bool appended = append(message, line, last ? length - QUOTES : length, !last);
        free(line);
        if (!appended) return CLI_LINE_NO_MEMORY;
        if (last) break;
    }
    if (message->length > 0 && message->text[message->length - 1] == '\n')
        message->text[--message->length] = '\0'; /* the one before quotes on a line of their own */
    return CLI_LINE_OK;
}

static cli_line_result read_lines(cli_line_reader *reader, cli_message *message)
{
    const char *prompt = "> ";
    for (;;) {
        char *line;
        size_t length;
        cli_line_result result = cli_line_read(reader, prompt, &line, &length);
        if (result == CLI_LINE_END && message->text) return CLI_LINE_OK;
        if (result != CLI_LINE_OK) return result;
        if (!message->text && length >= QUOTES && memcmp(line, quotes, QUOTES) == 0) {
            result = read_block(reader, message, line + QUOTES, length - QUOTES);
            free(line);
            return result;
        }
        bool more = length > 0 && line[length - 1] == '\\';
        bool appended = append(message, line, more ? length - 1 : length, more);
        free(line);
        if (!appended) return CLI_LINE_NO_MEMORY;
        if (!more) return CLI_LINE_OK;
        prompt = ". ";
    }
}

cli_line_result cli_message_read(cli_line_reader *reader, cli_message *message)
{
    *message = (cli_message){0};
    cli_line_result result = read_lines(reader, message);
    if (result != CLI_LINE_OK) {
        free(message->text);
        *message = (cli_message){0};
    }
    return result;
}
