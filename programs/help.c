/* Help texts, generated from the tables of options.h so that they cannot disagree with the parser.
 * Lines are wrapped at 80 columns; everything goes to stdout. */
#include <stdio.h>
#include <string.h>

#include "options.h"

enum { WIDTH = 80, HELP_COLUMN = 24 };

/* Prints text wrapped between indent and WIDTH; the cursor stands at column. */
static void wrap(const char *text, int column, int indent)
{
    bool fresh = true;
    while (*text) {
        int length = (int)strcspn(text, " \n");
        if (!fresh && column + 1 + length > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
            fresh = true;
        }
        column += printf("%s%.*s", fresh ? "" : " ", length, text);
        fresh = false;
        text += length;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
            fresh = true;
        }
        if (*text) text++;
    }
    putchar('\n');
}

static void print_option(const cli_option *option)
{
    int column = 0;
    if (option->letter)
        column += printf("  -%c, --%s", option->letter, option->name);
    else
        column += printf("  --%s", option->name);
    if (option->argument) column += printf(" %s", option->argument);
    if (column + 2 > HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    printf("%*s", HELP_COLUMN - column, "");
    wrap(option->help, HELP_COLUMN, HELP_COLUMN);
}

static void print_indented_lines(const char *lines, const char *prefix)
{
    while (*lines) {
        int length = (int)strcspn(lines, "\n");
        printf("%s%.*s\n", prefix, length, lines);
        lines += length;
        if (*lines) lines++;
    }
}

void cli_help_command(const cli_command *command)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "  sluice %s ", command->name);
    printf("Usage:\n");
    if (command->usage[0])
        print_indented_lines(command->usage, prefix);
    else
        printf("  sluice %s\n", command->name);
    putchar('\n');
    wrap(command->description, 0, 0);
    for (const cli_group *group = command->groups; group->title; group++) {
        printf("\n%s:\n", group->title);
        for (const cli_option *option = group->options; option->name; option++)
            print_option(option);
    }
    if (command->examples) {
        printf("\nExamples:\n");
        print_indented_lines(command->examples, "  ");
    }
}

void cli_help_program(void)
{
    puts("sluice runs mixture-of-experts language models larger than memory: the experts\n"
         "stay on the SSD and are read as they are needed.\n\n"
         "Usage: sluice COMMAND [MODEL] [options]\n\n"
         "MODEL is a folder: a checkpoint as downloaded (safetensors, Hugging Face or\n"
         "MLX), or what 'sluice convert' made of one. A checkpoint is converted once, into\n"
         "the user's cache folder. Without MODEL the small bundled model, Nano, is used.\n\n"
         "Commands:");
    for (const cli_command *const *command = cli_commands; *command; command++)
        printf("  %-12s%s\n", (*command)->name, (*command)->summary);
    puts("\n'sluice COMMAND --help' explains a command. To begin: sluice chat\n\n"
         "Exit status: 0 success, 1 failure (one sentence on stderr says why), 2 usage.");
}
