/* Single lines: from libedit on a terminal, from stdin otherwise; see chat_line.h.
 *
 * libedit retries a read that a signal interrupted, so characters are read here: that is how Ctrl-C
 * reaches the program while it waits for input. */
#include "chat_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "interrupt.h"

#ifdef SLUICE_HAVE_EDIT
#include <histedit.h>
#else
typedef void EditLine;
typedef void History;
#endif

struct cli_line_reader {
    EditLine *editor; /* NULL: lines are just read */
    History *history;
    char history_path[4096]; /* empty: not kept */
    const char *prompt;
    bool terminal;
};

static cli_line_result read_plain(const cli_line_reader *reader, const char *prompt, char **line,
                                  size_t *length)
{
    size_t capacity = 0;
    *line = NULL;
    if (reader->terminal) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    errno = 0;
    ssize_t n = getline(line, &capacity, stdin);
    if (n < 0) {
        int error = errno;
        free(*line);
        if (error == EINTR) clearerr(stdin);
        return error == EINTR    ? CLI_LINE_INTERRUPTED
               : error == ENOMEM ? CLI_LINE_NO_MEMORY
                                 : CLI_LINE_END;
    }
    while (n > 0 && ((*line)[n - 1] == '\n' || (*line)[n - 1] == '\r'))
        n--;
    (*line)[n] = '\0';
    *length = (size_t)n;
    return CLI_LINE_OK;
}

#ifdef SLUICE_HAVE_EDIT

/* Makes every folder of path (which ends in a file name), for this user alone. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700); /* if this fails, writing the file will */
        *slash = '/';
    }
}

static void find_history(cli_line_reader *reader)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    size_t size = sizeof reader->history_path;
    int n = 0;
    if (state && state[0] == '/')
        n = snprintf(reader->history_path, size, "%s/sluice/chat_history", state);
    else if (home && home[0] == '/')
        n = snprintf(reader->history_path, size, "%s/.local/state/sluice/chat_history", home);
    if (n <= 0 || (size_t)n >= size) reader->history_path[0] = '\0';
}

static char *show_prompt(EditLine *editor)
{
    static char prompt[16];
    void *reader = NULL;
    el_get(editor, EL_CLIENTDATA, &reader);
    snprintf(prompt, sizeof prompt, "%s", ((const cli_line_reader *)reader)->prompt);
    return prompt;
}

/* One character from the terminal; -1 when interrupted. */
static int read_character(EditLine *editor, wchar_t *character)
{
    mbstate_t state = {0};
    (void)editor;
    for (;;) {
        char byte;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0) return 0;
        if (n < 0) {
            if (errno == EINTR && !cli_interrupted()) continue;
            return -1;
        }
        size_t used = mbrtowc(character, &byte, 1, &state);
        if (used == (size_t)-2) continue;
        if (used != (size_t)-1) return 1;
        *character = 0xfffd; /* what is not UTF-8 */
        return 1;
    }
}

static void open_editor(cli_line_reader *reader)
{
    HistEvent event;
    reader->editor = el_init("sluice", stdin, stdout, stderr);
    if (!reader->editor) return;
    el_set(reader->editor, EL_CLIENTDATA, reader);
    el_set(reader->editor, EL_PROMPT, show_prompt);
    el_set(reader->editor, EL_EDITOR, "emacs");
    el_set(reader->editor, EL_SIGNAL, 0);
    el_set(reader->editor, EL_GETCFN, read_character);
    el_set(reader->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(reader->editor, NULL);
    reader->history = history_init();
    if (!reader->history) return;
    history(reader->history, &event, H_SETSIZE, 1000);
    history(reader->history, &event, H_SETUNIQUE, 1);
    el_set(reader->editor, EL_HIST, history, reader->history);
    find_history(reader);
    if (reader->history_path[0]) history(reader->history, &event, H_LOAD, reader->history_path);
}

static cli_line_result read_edited(cli_line_reader *reader, const char *prompt, char **line,
                                   size_t *length)
{
    int count = 0;
    HistEvent event;
    reader->prompt = prompt;
    el_resize(reader->editor);
    const char *typed = el_gets(reader->editor, &count);
    if (!typed || count <= 0) {
        bool interrupted = cli_interrupted();
        putchar('\n');
        if (interrupted) el_reset(reader->editor);
        return interrupted ? CLI_LINE_INTERRUPTED : CLI_LINE_END;
    }
    size_t n = strlen(typed);
    if (n > 0 && typed[n - 1] == '\n') n--;
    if (n > 0 && reader->history) history(reader->history, &event, H_ENTER, typed);
    *line = strndup(typed, n);
    *length = n;
    return *line ? CLI_LINE_OK : CLI_LINE_NO_MEMORY;
}

static void close_editor(cli_line_reader *reader)
{
    HistEvent event;
    if (reader->history) {
        if (reader->history_path[0]) {
            make_folders(reader->history_path);
            history(reader->history, &event, H_SAVE, reader->history_path);
        }
        history_end(reader->history);
    }
    if (reader->editor) el_end(reader->editor);
}

#else

static void open_editor(cli_line_reader *reader)
{
    (void)reader;
}

static cli_line_result read_edited(cli_line_reader *reader, const char *prompt, char **line,
                                   size_t *length)
{
    return read_plain(reader, prompt, line, length);
}

static void close_editor(cli_line_reader *reader)
{
    (void)reader;
}

#endif

cli_line_reader *cli_line_reader_open(void)
{
    cli_line_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return NULL;
    reader->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (reader->terminal) open_editor(reader);
    return reader;
}

void cli_line_reader_close(cli_line_reader *reader)
{
    if (!reader) return;
    close_editor(reader);
    free(reader);
}

cli_line_result cli_line_read(cli_line_reader *reader, const char *prompt, char **line,
                              size_t *length)
{
    cli_interrupt_clear();
    if (reader->editor) return read_edited(reader, prompt, line, length);
    return read_plain(reader, prompt, line, length);
}
