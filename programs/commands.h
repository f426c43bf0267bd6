/* Every command, each in its cmd_NAME.c. main.c lists them in the order of "sluice --help". */
#ifndef SLUICE_PROGRAMS_COMMANDS_H
#define SLUICE_PROGRAMS_COMMANDS_H

#include "options.h"

extern const cli_command cli_command_bench;
extern const cli_command cli_command_bench_cache; /* by way of bench */
extern const cli_command cli_command_calibrate;
extern const cli_command cli_command_chat;
extern const cli_command cli_command_completion;
extern const cli_command cli_command_convert;
extern const cli_command cli_command_detokenize; /* in cmd_tokenize.c */
extern const cli_command cli_command_eval;
extern const cli_command cli_command_importance;
extern const cli_command cli_command_inspect;
extern const cli_command cli_command_merge;
extern const cli_command cli_command_plan;
extern const cli_command cli_command_render;
extern const cli_command cli_command_report;
extern const cli_command cli_command_run;
extern const cli_command cli_command_serve;
extern const cli_command cli_command_score;
extern const cli_command cli_command_synth;
extern const cli_command cli_command_tokenize;
extern const cli_command cli_command_trace;
extern const cli_command cli_command_train;
extern const cli_command cli_command_verify;
extern const cli_command cli_command_version;

#endif
