/* sluice render: the prompt that a chat request becomes, exactly as the model sees it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "input.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/text.h"

static const cli_group groups[] = {{0}};

static int run(int argc, char **argv)
{
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_render, argc, argv, NULL, positional);
    if (status != CLI_GO_ON) return status;
    if (positional[0] && access(positional[0], F_OK) != 0)
        return cli_fail("%s: there is no such folder", positional[0]);

    sluice_error err = {0};
    sluice_prompt prompt = {0};
    cli_bytes request;
    status = cli_read("-", &request);
    if (status != CLI_OK) return status;
    if (sluice_chat_render(request.bytes, request.length, &prompt, &err) == SLUICE_OK) {
        fwrite(prompt.text.bytes, 1, prompt.text.length, stdout);
        status = cli_output_finish();
        sluice_prompt_free(&prompt);
    } else {
        status = cli_fail_error(&err);
    }
    free(request.bytes);
    return status;
}

const cli_command cli_command_render = {
    .name = "render",
    .summary = "A chat request on stdin to the prompt that the model sees",
    .usage = "[MODEL] < request.json",
    .description =
        "Reads a chat request from stdin and prints the exact prompt that the family's chat "
        "template makes of it, without adding a newline; or the template's error, with status 1. "
        "The request is a JSON object with \"messages\" and, if wanted, \"tools\", "
        "\"add_generation_prompt\" (false) and \"enable_thinking\" (true). All models of the "
        "family "
        "share one template, so MODEL need not be given.",
    .examples =
        "echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | sluice render",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
