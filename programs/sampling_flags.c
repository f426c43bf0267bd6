/* Sampling flags; see sampling_flags.h. */
#include "sampling_flags.h"

#define AT(field) offsetof(cli_sampling_flags, field)

const cli_option cli_sampling_options[] = {
    {"temp", 0, CLI_NUMBER, "T", AT(temperature), 0, 100,
     "Temperature; 0 always takes the likeliest token."},
    {"top-k", 0, CLI_INTEGER, "K", AT(top_k), 0, INT32_MAX,
     "Only the K likeliest tokens; 0 is all of them."},
    {"top-p", 0, CLI_NUMBER, "P", AT(top_p), 0, 1,
     "Only the likeliest tokens that together have probability P; 1 is all of them."},
    {"min-p", 0, CLI_NUMBER, "P", AT(min_p), 0, 1,
     "Only tokens at least P times as likely as the likeliest; 0 is all of them."},
    {"presence", 0, CLI_NUMBER, "X", AT(presence), -2, 2,
     "Penalty for tokens that were generated before; 0 is none."},
    {"frequency", 0, CLI_NUMBER, "X", AT(frequency), -2, 2,
     "Penalty for each time that a token was generated before; 0 is none."},
    {"repetition", 0, CLI_NUMBER, "X", AT(repetition), 0.01, 100,
     "Divides the logits of tokens in prompt and answer; 1 is none."},
    {"seed", 0, CLI_SEED, "S", AT(seed), 0, 0, "The same seed gives the same text."},
    {0}};

sluice_sampling cli_sampling(const cli_sampling_flags *flags, sluice_sampling base)
{
    if (!isnan(flags->temperature)) base.temperature = flags->temperature;
    if (!isnan(flags->top_p)) base.top_p = flags->top_p;
    if (!isnan(flags->min_p)) base.min_p = flags->min_p;
    if (!isnan(flags->presence)) base.presence_penalty = flags->presence;
    if (!isnan(flags->frequency)) base.frequency_penalty = flags->frequency;
    if (!isnan(flags->repetition)) base.repetition_penalty = flags->repetition;
    if (flags->top_k >= 0) base.top_k = flags->top_k;
    if (flags->seed.given) base.seed = flags->seed.value;
    return base;
}
