/* MMLU's subjects (see mmlu_subjects.h), as the authors' categories.py groups them. */
#include "eval/mmlu_subjects.h"

#include <stddef.h>
#include <string.h>

#include "sluice/benchmarks.h"

static const char *const names[SLUICE_MMLU_GROUPS] = {"STEM", "humanities", "social sciences",
                                                      "other", "unlisted"};

const char *sluice_mmlu_group_name(int32_t group)
{
    return names[group];
}

/* Words between blanks. */
static const char *const members[SLUICE_MMLU_GROUPS - 1] = {
    " abstract_algebra astronomy college_biology college_chemistry "
    "college_computer_science college_mathematics college_physics computer_security "
    "conceptual_physics electrical_engineering elementary_mathematics "
    "high_school_biology high_school_chemistry high_school_computer_science "
    "high_school_mathematics high_school_physics high_school_statistics machine_learning ",
    " formal_logic high_school_european_history high_school_us_history "
    "high_school_world_history international_law jurisprudence logical_fallacies "
    "moral_disputes moral_scenarios philosophy prehistory professional_law "
    "world_religions ",
    " econometrics high_school_geography high_school_government_and_politics "
    "high_school_macroeconomics high_school_microeconomics high_school_psychology "
    "human_sexuality professional_psychology public_relations security_studies sociology "
    "us_foreign_policy ",
    " anatomy business_ethics clinical_knowledge college_medicine global_facts "
    "human_aging management marketing medical_genetics miscellaneous nutrition "
    "professional_accounting professional_medicine virology ",
};

int32_t sluice_mmlu_group(const char *subject)
{
    size_t length = strlen(subject);
    for (int32_t group = 0; group < SLUICE_MMLU_GROUPS - 1; group++)
        for (const char *at = members[group]; (at = strstr(at, subject)); at++)
            if (at[-1] == ' ' && at[length] == ' ') return group;
    return SLUICE_MMLU_GROUPS - 1;
}
