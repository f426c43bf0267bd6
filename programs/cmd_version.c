/* sluice version: which build this is and what it would use on this machine. */
#include <stdio.h>
#include <sys/utsname.h>

#include "commands.h"
#include "output.h"
#include "sluice/sluice.h"

typedef struct version_args {
    bool json;
    const char *cpu;
} version_args;

static const cli_option options[] = {{"cpu", 0, CLI_CHOICE, "scalar|avx2|avx512|neon|auto",
                                      offsetof(version_args, cpu), 0, 0,
                                      "Instructions to describe (auto)."},
                                     {"json", 0, CLI_FLAG, NULL, offsetof(version_args, json), 0, 0,
                                      "Print the result as one line of JSON."},
                                     {0}};
static const cli_group groups[] = {{"Options", options, 0}, {0}};

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown compiler"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define BUILD "address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define BUILD "thread sanitizer"
#elif defined(__OPTIMIZE__)
#define BUILD "optimised"
#else
#define BUILD "not optimised"
#endif

static int run(int argc, char **argv)
{
    version_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_version, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    char cpu[256];
    sluice_error err = {0};
    struct utsname machine = {0};
    if (sluice_cpu_describe(args.cpu, cpu, sizeof cpu, &err) != SLUICE_OK)
        return cli_fail_error(&err);
    uname(&machine);
    if (args.json)
        return cli_output_json(json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:s}", "version", sluice_version(), "cpu", cpu, "machine",
            machine.machine, "system", machine.sysname, "compiler", COMPILER, "build", BUILD));
    printf("sluice %s\n", sluice_version());
    printf("cpu     %s (%s)\n", cpu, machine.machine);
    printf("build   %s, %s\n", COMPILER, BUILD);
    return cli_output_finish();
}

const cli_command cli_command_version = {
    .name = "version",
    .summary = "The version, and the CPU features in use",
    .usage = "[options]",
    .description =
        "Prints the version of sluice, the CPU instructions that its kernels use on this "
        "machine, and how it was built.",
    .groups = groups,
    .run = run,
};
