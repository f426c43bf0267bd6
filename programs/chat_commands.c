/* The commands of a chat: lines that begin with a slash. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"

typedef struct chat_command {
    const char *name, *argument, *help;
    bool (*run)(cli_chat *chat, const char *argument); /* false: leave */
} chat_command;

static void print_commands(void);

static bool run_help(cli_chat *chat, const char *argument)
{
    (void)chat;
    (void)argument;
    print_commands();
    puts("\nA backslash at the end of a line goes on with the message on the next; a message "
         "between\n"
         "two \"\"\" may have any lines, also such as begin with a slash. Ctrl-C stops an answer,\n"
         "Ctrl-D leaves.");
    return true;
}

static bool run_new(cli_chat *chat, const char *argument)
{
    (void)argument;
    cli_chat_forget(chat);
    if (!chat->quiet) cli_note("a new conversation");
    return true;
}

static bool run_system(cli_chat *chat, const char *argument)
{
    if (cli_chat_set_system(chat, argument, strlen(argument)) == CLI_OK && !chat->quiet)
        cli_note(argument[0] ? "the system prompt is set" : "there is no system prompt now");
    return true;
}

static bool run_think(cli_chat *chat, const char *argument)
{
    bool hide = strcmp(argument, "hide") == 0;
    if (strcmp(argument, "off") == 0) {
        chat->thinking = false;
    } else if (strcmp(argument, "on") == 0 || hide) {
        chat->thinking = true;
        chat->thinking_hidden = hide;
    } else if (argument[0]) {
        cli_fail("/think takes on, off or hide, not '%s'", argument);
        return true;
    }
    if (!chat->quiet)
        cli_note("thinking is %s", !chat->thinking         ? "off"
                                   : chat->thinking_hidden ? "on, and hidden"
                                                           : "on");
    return true;
}

static bool run_temp(cli_chat *chat, const char *argument)
{
    char *end;
    double value = strtod(argument, &end);
    if (strcmp(argument, "default") == 0) {
        chat->sampling.temperature = NAN;
        return true;
    }
    if (end == argument || *end || !(value >= 0 && value <= 100)) {
        cli_fail("/temp takes a number from 0 to 100, or default, not '%s'", argument);
        return true;
    }
    chat->sampling.temperature = (float)value;
    return true;
}

static bool run_stats(cli_chat *chat, const char *argument)
{
    char line[512];
    (void)argument;
    if (chat->remote) {
        puts(chat->remote_statistics[0] ? chat->remote_statistics : "nothing was answered yet");
        return true;
    }
    if (!chat->has_statistics) {
        puts("nothing was answered yet");
        return true;
    }
    cli_statistics_line(&chat->statistics, line, sizeof line);
    puts(line);
    printf("%d of %d tokens of context used\n", chat->transcript_count, chat->info->context);
    return true;
}

/* "~/x" as the shell reads it; the result is freed. */
static char *expand(const char *path)
{
    const char *home = getenv("HOME");
    char *expanded = NULL;
    if (strncmp(path, "~/", 2) != 0 || !home) return strdup(path);
    return asprintf(&expanded, "%s/%s", home, path + 2) < 0 ? NULL : expanded;
}

static void with_file(cli_chat *chat, const char *argument, const char *name,
                      void (*act)(cli_chat *, const char *))
{
    if (chat->remote) {
        cli_fail("/%s is not for conversations with a server", name);
        return;
    }
    if (!argument[0]) {
        cli_fail("/%s needs the name of a file", name);
        return;
    }
    char *path = expand(argument);
    if (path)
        act(chat, path);
    else
        cli_fail("not enough memory for the name of a file");
    free(path);
}

static bool run_save(cli_chat *chat, const char *argument)
{
    with_file(chat, argument, "save", cli_chat_save);
    return true;
}

static bool run_load(cli_chat *chat, const char *argument)
{
    with_file(chat, argument, "load", cli_chat_load);
    return true;
}

static bool run_quit(cli_chat *chat, const char *argument)
{
    (void)chat;
    (void)argument;
    return false;
}

static const chat_command commands[] = {
    {"help", "", "This list.", run_help},
    {"new", "", "Start a new conversation; the system prompt stays.", run_new},
    {"system", "TEXT", "Set the system prompt; without TEXT, remove it.", run_system},
    {"think", "on|off|hide", "Think before answering: shown, not at all, or hidden.", run_think},
    {"temp", "X", "Temperature from now on; 0 is greedy; default is the family's.", run_temp},
    {"stats", "", "Speed, hit rate and memory of the last answer.", run_stats},
    {"save", "FILE", "Write the conversation, and the model's state to FILE.state.", run_save},
    {"load", "FILE", "Go on with a conversation that was saved.", run_load},
    {"quit", "", "Leave (also Ctrl-D).", run_quit},
    {0}};

static void print_commands(void)
{
    for (const chat_command *command = commands; command->name; command++) {
        int n = printf("  /%s %s", command->name, command->argument);
        printf("%*s%s\n", n < 24 ? 24 - n : 1, "", command->help);
    }
}

bool cli_chat_command(cli_chat *chat, const char *line)
{
    size_t length = strcspn(line + 1, " \t");
    for (const chat_command *command = commands; command->name; command++) {
        if (strlen(command->name) != length || strncmp(command->name, line + 1, length) != 0)
            continue;
        const char *argument = line + 1 + length;
        argument += strspn(argument, " \t");
        size_t end = strlen(argument);
        while (end > 0 && isspace((unsigned char)argument[end - 1]))
            end--;
        char *trimmed = strndup(argument, end);
        bool stay = true;
        if (!trimmed)
            cli_fail("not enough memory for a command");
        else if (end > 0 && !command->argument[0])
            cli_fail("/%s takes no argument", command->name);
        else
            stay = command->run(chat, trimmed);
        free(trimmed);
        return stay;
    }
    cli_fail("unknown command '%.*s'; /help lists them", (int)length + 1, line);
    return true;
}
