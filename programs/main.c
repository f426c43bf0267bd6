/* sluice, the program: finds the command and hands over. Everything that a command does goes
 * through the public headers, so that whatever the program can do, any other program can do too. */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output.h"

const cli_command *const cli_commands[] = {&cli_command_chat,
                                           &cli_command_run,
                                           &cli_command_score,
                                           &cli_command_convert,
                                           &cli_command_inspect,
                                           &cli_command_verify,
                                           &cli_command_render,
                                           &cli_command_tokenize,
                                           &cli_command_detokenize,
                                           &cli_command_serve,
                                           &cli_command_plan,
                                           &cli_command_bench,
                                           &cli_command_eval,
                                           &cli_command_train,
                                           &cli_command_merge,
                                           &cli_command_calibrate,
                                           &cli_command_report,
                                           &cli_command_importance,
                                           &cli_command_synth,
                                           &cli_command_trace,
                                           &cli_command_completion,
                                           &cli_command_version,
                                           NULL};

/* Character classes from the user's locale, as UTF-8 in any case; numbers stay as C writes them. */
static void set_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

static int help(int argc, char **argv)
{
    const cli_command *command = argc > 2 ? cli_command_find(argv[2]) : NULL;
    if (argc > 2 && !command)
        return cli_usage("unknown command '%s'; see 'sluice --help'", argv[2]);
    if (command)
        cli_help_command(command);
    else
        cli_help_program();
    return cli_output_finish();
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a write to a closed pipe fails like any other write */
    set_locale();
    if (argc < 2)
        return cli_usage("a command is needed, such as 'sluice chat'; see 'sluice --help'");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc, argv);
    if (strcmp(name, "--version") == 0) name = "version";
    const cli_command *command = cli_command_find(name);
    if (command) return command->run(argc - 1, argv + 1);
    const char *near = cli_command_suggest(name);
    if (near)
        return cli_usage("unknown command '%s' (did you mean '%s'?); see 'sluice --help'", name,
                         near);
    return cli_usage("unknown command '%s'; see 'sluice --help'", name);
}
