/* Messages from the keyboard or a pipe.
 *
 * On a terminal lines are edited with libedit and remembered between runs; elsewhere they are just
 * read. A message of several lines has a backslash at the end of each line but the last, or stands
 * between lines of three double quotes. */
#ifndef SLUICE_PROGRAMS_CHAT_LINE_H
#define SLUICE_PROGRAMS_CHAT_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum cli_line_result {
    CLI_LINE_OK,
    CLI_LINE_END,         /* of the input */
    CLI_LINE_INTERRUPTED, /* Ctrl-C: what was typed is dropped */
    CLI_LINE_NO_MEMORY
} cli_line_result;

typedef struct cli_message {
    char *text; /* freed with free() */
    size_t length;
    bool block; /* was quoted: never a command */
} cli_message;

typedef struct cli_line_reader cli_line_reader;
cli_line_reader *cli_line_reader_open(void); /* NULL: out of memory */
void cli_line_reader_close(cli_line_reader *reader);

/* Reads one line without its newline, showing prompt on a terminal (chat_line.c). */
cli_line_result cli_line_read(cli_line_reader *reader, const char *prompt, char **line,
                              size_t *length);

/* Reads a whole message (chat_message.c). */
cli_line_result cli_message_read(cli_line_reader *reader, cli_message *message);

#endif
