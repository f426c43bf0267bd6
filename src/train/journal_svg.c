/* loss.svg: the loss of every step, its running mean, and the validation losses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "os/file.h"
#include "train/journal.h"

enum { WIDTH = 800, HEIGHT = 420, LEFT = 64, RIGHT = 24, TOP = 56, BOTTOM = 48, TICKS = 5 };
#define SMOOTH 0.9 /* of the running mean */

typedef struct frame {
    FILE *out;
    double step_min, step_max, loss_max;
} frame;

/* The top of an axis whose ticks are round numbers. */
static double round_up(double most)
{
    static const double rounds[] = {1, 2, 2.5, 5};
    const double unit = pow(10.0, floor(log10(most / TICKS)));
    for (int i = 0; i < 4; i++)
        if (unit * rounds[i] * TICKS >= most) return unit * rounds[i] * TICKS;
    return 10.0 * unit * TICKS;
}

static double x_of(const frame *f, int32_t step)
{
    const double span = f->step_max > f->step_min ? f->step_max - f->step_min : 1.0;
    return LEFT + (step - f->step_min) / span * (WIDTH - LEFT - RIGHT);
}

static double y_of(const frame *f, double loss)
{
    return TOP + (1.0 - loss / f->loss_max) * (HEIGHT - TOP - BOTTOM);
}

static void text(const frame *f, double x, double y, const char *anchor, const char *words)
{
    fprintf(f->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (; *words; words++) {
        if (*words == '<')
            fputs("&lt;", f->out);
        else if (*words == '&')
            fputs("&amp;", f->out);
        else
            fputc(*words, f->out);
    }
    fputs("</text>\n", f->out);
}

static void axes(const frame *f, const char *title)
{
    char label[32];
    text(f, LEFT, 24, "start", title);
    for (int i = 0; i <= TICKS; i++) {
        const double loss = f->loss_max * i / TICKS;
        snprintf(label, sizeof label, "%.3g", loss);
        fprintf(f->out, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
                LEFT, WIDTH - RIGHT, y_of(f, loss), y_of(f, loss));
        text(f, LEFT - 8, y_of(f, loss) + 4, "end", label);
    }
    const double unit = fmax(1.0, ceil(round_up(f->step_max - f->step_min) / TICKS));
    for (double step = ceil(f->step_min / unit) * unit; step <= f->step_max; step += unit) {
        snprintf(label, sizeof label, "%.0f", step);
        text(f, x_of(f, (int32_t)step), HEIGHT - BOTTOM + 18, "middle", label);
    }
    text(f, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10, "middle", "step");
}

static void legend(const frame *f)
{
    static const struct {
        const char *name, *colour;
    } lines[] = {
        {"loss of the step", "#9ecae1"}, {"running mean", "#2171b5"}, {"validation", "#d94801"}};
    for (int i = 0; i < 3; i++) {
        const int x = LEFT + i * 150;
        fprintf(f->out, "<rect x=\"%d\" y=\"36\" width=\"18\" height=\"4\" fill=\"%s\"/>\n", x,
                lines[i].colour);
        text(f, x + 24, 42, "start", lines[i].name);
    }
}

typedef enum series { STEPS, MEAN, VALIDATION } series;

static void draw(const frame *f, const sluice_journal *journal, series which, const char *style)
{
    double mean = 0.0, weight = 0.0;
    fputs("<polyline points=\"", f->out);
    for (int32_t i = 0; i < journal->n; i++) {
        const sluice_journal_point *point = &journal->points[i];
        double value = which == VALIDATION ? point->validation : point->loss;
        mean = SMOOTH * mean + (1.0 - SMOOTH) * point->loss;
        weight = SMOOTH * weight + 1.0 - SMOOTH;
        if (which == MEAN) value = mean / weight;
        if (isfinite(value)) fprintf(f->out, "%.1f,%.1f ", x_of(f, point->step), y_of(f, value));
    }
    fprintf(f->out, "\" fill=\"none\" %s/>\n", style);
    for (int32_t i = 0; which == VALIDATION && i < journal->n; i++)
        if (isfinite(journal->points[i].validation))
            fprintf(f->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#d94801\"/>\n",
                    x_of(f, journal->points[i].step), y_of(f, journal->points[i].validation));
}

sluice_status sluice_journal_draw(const sluice_journal *journal, const char *title,
                                  sluice_error *err)
{
    char *bytes = NULL;
    size_t size = 0;
    if (journal->n == 0) return SLUICE_OK;
    frame f = {open_memstream(&bytes, &size), journal->points[0].step,
               journal->points[journal->n - 1].step, 1e-9};
    if (!f.out) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the curve");
    for (int32_t i = 0; i < journal->n; i++) {
        f.loss_max = fmax(f.loss_max, journal->points[i].loss);
        if (isfinite(journal->points[i].validation))
            f.loss_max = fmax(f.loss_max, journal->points[i].validation);
    }
    f.loss_max = round_up(f.loss_max);
    fprintf(f.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            WIDTH, HEIGHT);
    axes(&f, title);
    legend(&f);
    draw(&f, journal, STEPS, "stroke=\"#9ecae1\"");
    draw(&f, journal, MEAN, "stroke=\"#2171b5\" stroke-width=\"2\"");
    draw(&f, journal, VALIDATION, "stroke=\"#d94801\" stroke-width=\"2\"");
    fputs("</svg>\n", f.out);
    sluice_status status = fclose(f.out) == 0
                               ? sluice_file_save(journal->svg, bytes, size, err)
                               : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the curve");
    free(bytes);
    return status;
}
