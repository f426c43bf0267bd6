/* MMLU's subjects and the four groups that its authors report. */
#ifndef SLUICE_EVAL_MMLU_SUBJECTS_H
#define SLUICE_EVAL_MMLU_SUBJECTS_H

#include <stdint.h>

/* The group of a subject, SLUICE_MMLU_GROUPS - 1 for one that is not theirs. */
int32_t sluice_mmlu_group(const char *subject);

#endif
