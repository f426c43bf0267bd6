/* Command lines: one declarative table per command, one parser and one help text for all of them.
 *
 * An option says where its value goes (an offset into the command's own struct), so that tables are
 * constants and can also be walked for help and shell completion. What is unknown, malformed, out
 * of range or meaningless to a command is refused in one sentence with status 2; no option is ever
 * accepted and then ignored. */
#ifndef SLUICE_PROGRAMS_OPTIONS_H
#define SLUICE_PROGRAMS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum cli_kind {
    CLI_FLAG,    /* bool, takes no argument */
    CLI_TEXT,    /* const char *, the argument itself */
    CLI_TEXTS,   /* cli_texts, the arguments of every time that it is given */
    CLI_CHOICE,  /* const char *, one of the words of `argument`, which reads "a|b|c" */
    CLI_INTEGER, /* int32_t */
    CLI_NUMBER,  /* float */
    CLI_SEED,    /* cli_seed */
    CLI_SIZE,    /* uint64_t bytes: "4M", "6GiB", "1.5G" */
    CLI_LIST     /* cli_list: the words up to the next option; may be given again */
} cli_kind;

/* A seed, and whether it was given. */
typedef struct cli_seed {
    uint64_t value;
    bool given;
} cli_seed;

enum { CLI_LIST_MAX = 256 };
typedef struct cli_list {
    const char *words[CLI_LIST_MAX];
    int count;
} cli_list;

enum { CLI_TEXTS_MAX = 7 };

typedef struct cli_texts {
    const char *at[CLI_TEXTS_MAX];
    int32_t n;
} cli_texts;

typedef struct cli_option {
    const char *name; /* without the dashes; NULL ends a table */
    char letter;      /* of its short form, or 0 */
    cli_kind kind;
    const char *argument; /* as help shows it; NULL for a flag */
    size_t offset;        /* of the value in the group's struct */
    double min, max;      /* of CLI_INTEGER and CLI_NUMBER */
    const char *help;
} cli_option;

typedef struct cli_group {
    const char *title; /* NULL ends a list */
    const cli_option *options;
    size_t offset; /* of the group's struct in the command's */
} cli_group;

typedef struct cli_command {
    const char *name;
    const char *summary;     /* one line of "sluice --help" */
    const char *usage;       /* what follows the name; one form a line */
    const char *description; /* paragraphs; wrapped when shown */
    const char *examples;    /* whole lines, without the indentation; NULL for none */
    int positional_min, positional_max;
    const cli_group *groups;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} cli_command;

enum { CLI_POSITIONAL_MAX = 2, CLI_GO_ON = -1 };

/* Reads argv into args (which holds the defaults) and positional (NULL where absent).
 * Returns CLI_GO_ON, or the exit status: 0 after --help, 2 after telling what is wrong. */
int cli_options_parse(const cli_command *command, int argc, char **argv, void *args,
                      const char *positional[CLI_POSITIONAL_MAX]);

/* "4M" -> bytes. K, M, G, T (also KiB, ...) are powers of 1024; KB, MB, GB, TB of 1000. */
bool cli_size_parse(const char *text, uint64_t *bytes);

/* Every command, ended by NULL (main.c). */
extern const cli_command *const cli_commands[];
const cli_command *cli_command_find(const char *name);

/* The table's word nearest to a misspelt one, or NULL when nothing is near. */
const char *cli_command_suggest(const char *word);

/* help.c */
void cli_help_command(const cli_command *command);
void cli_help_program(void);

#endif
