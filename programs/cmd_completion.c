/* sluice completion: a completion script for bash, generated from the tables of all commands. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"

static const cli_group groups[] = {{0}};

static void print_words(const cli_command *command)
{
    printf("        %s) words='--help", command->name);
    for (const cli_group *group = command->groups; group->title; group++)
        for (const cli_option *option = group->options; option->name; option++)
            printf(" --%s", option->name);
    puts("' ;;");
}

/* Cases for the values of options that have a fixed choice; the same option may have other choices
 * elsewhere, so the command is part of the case. */
static void print_choices(const cli_command *command)
{
    for (const cli_group *group = command->groups; group->title; group++) {
        for (const cli_option *option = group->options; option->name; option++) {
            if (option->kind != CLI_CHOICE) continue;
            printf("        %s:--%s) words='", command->name, option->name);
            for (const char *at = option->argument; *at; at++)
                putchar(*at == '|' ? ' ' : *at);
            puts("' ;;");
        }
    }
}

static int print_bash(void)
{
    puts("# Completion of sluice for bash: source <(sluice completion bash)\n"
         "_sluice() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        words='help");
    for (const cli_command *const *command = cli_commands; *command; command++)
        printf(" %s", (*command)->name);
    puts("'\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "        return\n"
         "    fi\n"
         "    case ${COMP_WORDS[1]}:${COMP_WORDS[COMP_CWORD-1]} in");
    for (const cli_command *const *command = cli_commands; *command; command++)
        print_choices(*command);
    puts("    esac\n"
         "    if [ -n \"$words\" ]; then\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
         "        return\n"
         "    fi\n"
         "    case ${COMP_WORDS[1]} in");
    for (const cli_command *const *command = cli_commands; *command; command++)
        print_words(*command);
    puts("    esac\n"
         "    case $word in\n"
         "        -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n"
         "        *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "    esac\n"
         "}\n"
         "complete -o filenames -F _sluice sluice");
    return cli_output_finish();
}

static int run(int argc, char **argv)
{
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_completion, argc, argv, NULL, positional);
    if (status != CLI_GO_ON) return status;
    if (strcmp(positional[0], "bash") != 0)
        return cli_usage("only bash has completion, not '%s'", positional[0]);
    return print_bash();
}

const cli_command cli_command_completion = {
    .name = "completion",
    .summary = "A completion script for bash",
    .usage = "bash",
    .description = "Prints a script that teaches bash the commands and options of sluice.",
    .examples = "source <(sluice completion bash)",
    .positional_min = 1,
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
