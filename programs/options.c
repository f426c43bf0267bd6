/* The parser behind options.h: long and short options, sizes, ranges, and one helpful sentence for
 * everything that is wrong. It knows no option of its own except --help. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* What is being read. */
typedef struct parser {
    const cli_command *command;
    int argc;
    char **argv;
    int next;
    void *args;
} parser;

const cli_command *cli_command_find(const char *name)
{
    for (const cli_command *const *command = cli_commands; *command; command++)
        if (strcmp((*command)->name, name) == 0) return *command;
    return NULL;
}

/* The option called name (or with letter, when name is NULL); its struct's offset goes to *base. */
static const cli_option *find(const cli_command *command, const char *name, size_t length,
                              char letter, size_t *base)
{
    for (const cli_group *group = command->groups; group->title; group++) {
        for (const cli_option *option = group->options; option->name; option++) {
            bool same =
                name ? strlen(option->name) == length && strncmp(option->name, name, length) == 0
                     : letter == option->letter;
            if (!same) continue;
            *base = group->offset;
            return option;
        }
    }
    return NULL;
}

/* Levenshtein distance, for words of up to 31 bytes. */
static size_t distance(const char *a, size_t a_length, const char *b)
{
    size_t b_length = strlen(b);
    size_t row[32];
    if (a_length > 31 || b_length > 31) return SIZE_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < best ? change : best;
        }
    }
    return row[b_length];
}

static const char *nearer(const char *word, size_t length, const char *candidate,
                          const char *so_far, size_t *so_far_distance)
{
    size_t d = distance(word, length, candidate);
    if (d >= *so_far_distance || d * 3 > length + 1) return so_far;
    *so_far_distance = d;
    return candidate;
}

const char *cli_command_suggest(const char *word)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (const cli_command *const *command = cli_commands; *command; command++)
        best = nearer(word, strlen(word), (*command)->name, best, &best_distance);
    return best;
}

static const char *suggest_option(const cli_command *command, const char *word, size_t length)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (const cli_group *group = command->groups; group->title; group++)
        for (const cli_option *option = group->options; option->name; option++)
            best = nearer(word, length, option->name, best, &best_distance);
    return best;
}

static int refuse_unknown(const parser *p, const char *name, size_t length, char letter)
{
    const char *command = p->command->name;
    size_t base;
    if (!name) return cli_usage("unknown option '-%c'; see 'sluice %s --help'", letter, command);
    for (const cli_command *const *other = cli_commands; *other; other++)
        if (find(*other, name, length, 0, &base))
            return cli_usage("'--%.*s' means nothing to 'sluice %s'; see 'sluice %s --help'",
                             (int)length, name, command, command);
    const char *near = suggest_option(p->command, name, length);
    if (near)
        return cli_usage("unknown option '--%.*s' (did you mean '--%s'?); see 'sluice %s --help'",
                         (int)length, name, near, command);
    return cli_usage("unknown option '--%.*s'; see 'sluice %s --help'", (int)length, name, command);
}

bool cli_size_parse(const char *text, uint64_t *bytes)
{
    static const char letters[] = "KMGT";
    char *end;
    if (!strchr("0123456789.", text[0]) || text[0] == '\0') return false;
    if (strspn(text, "0123456789.") == 0 || strpbrk(text, "xXpP")) return false;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0 || !(number >= 0)) return false;
    const char *letter = *end ? strchr(letters, *end == 'k' ? 'K' : *end) : NULL;
    if (letter) {
        bool decimal = strcmp(end + 1, "B") == 0;
        if (!decimal && end[1] != '\0' && strcmp(end + 1, "iB") != 0) return false;
        number *= pow(decimal ? 1000 : 1024, (double)(letter - letters + 1));
    } else if (*end != '\0' && strcmp(end, "B") != 0) {
        return false;
    }
    if (number >= 9e18) return false;
    *bytes = (uint64_t)number;
    return true;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *word = choices; word; word = strchr(word, '|')) {
        if (*word == '|') word++;
        if (strcspn(word, "|") == length && strncmp(word, value, length) == 0) return length > 0;
    }
    return false;
}

static int store_integer(const cli_option *option, const char *value, void *target)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool whole = end != value && *end == '\0';
    if (!whole || errno != 0 || (double)number < option->min || (double)number > option->max) {
        if (option->max >= INT32_MAX)
            return cli_usage("--%s must be a whole number of at least %.0f, not '%s'", option->name,
                             option->min, value);
        return cli_usage("--%s must be a whole number from %.0f to %.0f, not '%s'", option->name,
                         option->min, option->max, value);
    }
    *(int32_t *)target = (int32_t)number;
    return CLI_GO_ON;
}

static int store_number(const cli_option *option, const char *value, void *target)
{
    char *end;
    double number = strtod(value, &end);
    bool whole = end != value && *end == '\0' && isfinite(number);
    if (!whole || number < option->min || number > option->max)
        return cli_usage("--%s must be a number from %g to %g, not '%s'", option->name, option->min,
                         option->max, value);
    *(float *)target = (float)number;
    return CLI_GO_ON;
}

static int store_seed(const cli_option *option, const char *value, void *target)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0)
        return cli_usage("--%s must be a whole number from 0 to 18446744073709551615, not '%s'",
                         option->name, value);
    *(cli_seed *)target = (cli_seed){.value = number, .given = true};
    return CLI_GO_ON;
}

static int store_size(const cli_option *option, const char *value, void *target)
{
    uint64_t bytes;
    if (!cli_size_parse(value, &bytes) || bytes == 0)
        return cli_usage("--%s must be a size such as 512M, 6GiB or 1.5G, not '%s'", option->name,
                         value);
    *(uint64_t *)target = bytes;
    return CLI_GO_ON;
}

static int store_texts(const cli_option *option, const char *value, cli_texts *texts)
{
    if (texts->n == CLI_TEXTS_MAX)
        return cli_usage("--%s can be given %d times at most", option->name, CLI_TEXTS_MAX);
    texts->at[texts->n++] = value;
    return CLI_GO_ON;
}

static int store_word(const cli_option *option, const char *value, void *target)
{
    cli_list *list = target;
    if (list->count == CLI_LIST_MAX)
        return cli_usage("--%s takes at most %d values", option->name, CLI_LIST_MAX);
    list->words[list->count++] = value;
    return CLI_GO_ON;
}

static int store(const parser *p, const cli_option *option, size_t base, const char *value)
{
    void *target = (char *)p->args + base + option->offset;
    switch (option->kind) {
    case CLI_FLAG: *(bool *)target = true; return CLI_GO_ON;
    case CLI_TEXT: *(const char **)target = value; return CLI_GO_ON;
    case CLI_TEXTS: return store_texts(option, value, target);
    case CLI_CHOICE:
        if (!is_choice(option->argument, value))
            return cli_usage("--%s must be one of %s, not '%s'", option->name, option->argument,
                             value);
        *(const char **)target = value;
        return CLI_GO_ON;
    case CLI_INTEGER: return store_integer(option, value, target);
    case CLI_NUMBER: return store_number(option, value, target);
    case CLI_SEED: return store_seed(option, value, target);
    case CLI_SIZE: return store_size(option, value, target);
    case CLI_LIST: return store_word(option, value, target);
    }
    return CLI_GO_ON;
}

/* The value of option: what is attached to it, else the next argument. */
static int take_value(parser *p, const cli_option *option, const char *attached, const char **value)
{
    *value = attached;
    if (option->kind == CLI_FLAG) {
        if (attached) return cli_usage("--%s takes no value", option->name);
    } else if (!attached) {
        if (p->next >= p->argc)
            return cli_usage("--%s needs a value (%s)", option->name, option->argument);
        *value = p->argv[p->next++];
    }
    return CLI_GO_ON;
}

/* Stores the value, and the further words of a list. */
static int store_all(parser *p, const cli_option *option, size_t base, const char *value)
{
    int status = store(p, option, base, value);
    while (status == CLI_GO_ON && option->kind == CLI_LIST && p->next < p->argc &&
           (p->argv[p->next][0] != '-' || !p->argv[p->next][1]))
        status = store(p, option, base, p->argv[p->next++]);
    return status;
}

static int parse_long(parser *p, const char *word)
{
    size_t length = strcspn(word, "=");
    size_t base = 0;
    const char *value = NULL;
    if (strcmp(word, "help") == 0) {
        cli_help_command(p->command);
        return cli_output_finish();
    }
    const cli_option *option = find(p->command, word, length, 0, &base);
    if (!option) return refuse_unknown(p, word, length, 0);
    int status = take_value(p, option, word[length] ? word + length + 1 : NULL, &value);
    return status == CLI_GO_ON ? store_all(p, option, base, value) : status;
}

/* "-n 5", "-n5"; flags have no short forms that could be bundled. */
static int parse_short(parser *p, const char *word)
{
    size_t base = 0;
    const char *value = NULL;
    if (strcmp(word, "h") == 0) {
        cli_help_command(p->command);
        return cli_output_finish();
    }
    const cli_option *option = find(p->command, NULL, 0, word[0], &base);
    if (!option) return refuse_unknown(p, NULL, 0, word[0]);
    int status = take_value(p, option, word[1] ? word + 1 : NULL, &value);
    return status == CLI_GO_ON ? store_all(p, option, base, value) : status;
}

int cli_options_parse(const cli_command *command, int argc, char **argv, void *args,
                      const char *positional[CLI_POSITIONAL_MAX])
{
    parser p = {.command = command, .argc = argc, .argv = argv, .next = 1, .args = args};
    int n_positional = 0;
    bool options_ended = false;
    memset(positional, 0, CLI_POSITIONAL_MAX * sizeof *positional);
    while (p.next < argc) {
        const char *word = argv[p.next++];
        int status = CLI_GO_ON;
        if (!options_ended && strcmp(word, "--") == 0)
            options_ended = true;
        else if (!options_ended && word[0] == '-' && word[1] == '-')
            status = parse_long(&p, word + 2);
        else if (!options_ended && word[0] == '-' && word[1] != '\0')
            status = parse_short(&p, word + 1);
        else if (n_positional < command->positional_max)
            positional[n_positional++] = word;
        else
            status =
                cli_usage("unexpected argument '%s'; see 'sluice %s --help'", word, command->name);
        if (status != CLI_GO_ON) return status;
    }
    if (n_positional < command->positional_min)
        return cli_usage("'sluice %s' needs %s; see 'sluice %s --help'", command->name,
                         command->usage, command->name);
    return CLI_GO_ON;
}
