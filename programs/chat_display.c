/* An answer on the screen: thinking dimmed or hidden, tool calls in brackets, text as it is.
 *
 * On a terminal control characters that a model may write are replaced, so that an answer can
 * neither move the cursor nor change the colours. */
#include <stdio.h>
#include <string.h>

#include "chat.h"

#define DIM "\033[2m"
#define PLAIN "\033[0m"

void cli_chat_display_begin(cli_chat_display *display, const cli_chat *chat)
{
    *display = (cli_chat_display){.chat = chat, .part = -1};
    display->waiting.quiet = chat->quiet || !chat->thinking_hidden;
}

static void put(const cli_chat_display *display, const char *text, size_t length)
{
    if (!display->chat->color) {
        fwrite(text, 1, length, stdout);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool c1 = byte == 0xc2 && i + 1 < length && ((unsigned char)text[i + 1] & 0xe0) == 0x80;
        bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f || c1;
        if (control)
            fputs("\xef\xbf\xbd", stdout);
        else
            putchar(byte);
        if (c1) i++;
    }
}

/* Text without the white space that it begins with. */
static void put_trimmed(cli_chat_display *display, const char *text, size_t length)
{
    if (!display->started) {
        while (length > 0 && strchr(" \t\r\n", *text) && *text) {
            text++;
            length--;
        }
    }
    if (length > 0) display->started = true;
    put(display, text, length);
}

static void end_part(cli_chat_display *display)
{
    if (display->part == SLUICE_REPLY_REASONING && display->chat->color) fputs(PLAIN, stdout);
    if (display->part >= 0 && display->started) fputs("\n\n", stdout);
    display->part = -1;
    display->started = false;
}

static void begin_part(cli_chat_display *display, int part)
{
    end_part(display);
    display->part = part;
    if (part == SLUICE_REPLY_REASONING && display->chat->color) fputs(DIM, stdout);
}

void cli_chat_display_event(cli_chat_display *display, const sluice_reply_event *event)
{
    bool thinking = event->part == SLUICE_REPLY_REASONING;
    if (thinking && display->chat->thinking_hidden) return;
    cli_progress_clear(&display->waiting);
    display->waiting.quiet = true;
    switch (event->part) {
    case SLUICE_REPLY_REASONING:
    case SLUICE_REPLY_CONTENT:
        if (display->part != (int)event->part) begin_part(display, (int)event->part);
        put_trimmed(display, event->text, event->length);
        break;
    case SLUICE_REPLY_CALL:
        begin_part(display, SLUICE_REPLY_CALL);
        put_trimmed(display, "[call ", 6);
        put(display, event->text, event->length);
        put(display, " ", 1);
        break;
    case SLUICE_REPLY_ARGUMENTS: put(display, event->text, event->length); break;
    case SLUICE_REPLY_CALL_END:
        fputs(event->complete ? "]" : " (not finished)]", stdout);
        end_part(display);
        break;
    }
    if (cli_output_flush() != CLI_OK) display->write_failed = true;
}

void cli_chat_display_token(cli_chat_display *display)
{
    display->hidden_tokens++;
    cli_progress_show(&display->waiting, "thinking: %d tokens", display->hidden_tokens);
}

void cli_chat_display_end(cli_chat_display *display)
{
    cli_progress_clear(&display->waiting);
    if (display->part >= 0) {
        if (display->part == SLUICE_REPLY_REASONING && display->chat->color) fputs(PLAIN, stdout);
        putchar('\n');
    }
    if (cli_output_flush() != CLI_OK) display->write_failed = true;
}
