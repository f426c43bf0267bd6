/* Speed against quality as a drawing: a point for each setting, the settings that no other one
 * beats joined by a line. To the right is faster, up is better.
 *
 * Perplexities and divergences differ by factors where tasks differ by points: the former are drawn
 * by their square roots above the best one, so that what costs little can be told apart. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_result.h"

enum { WIDTH = 860, HEIGHT = 460, LEFT = 70, RIGHT = 40, TOP = 34, BOTTOM = 52 };
enum { LETTER = 6, LINE = 13 }; /* of a label, about */

typedef struct chart {
    const report_result *result;
    report_measure measure;
    double speed_most, low, high; /* of the values drawn */
} chart;

typedef struct box {
    double left, top, right, bottom;
} box;

static bool is_drawn(const chart *c, int32_t i)
{
    const report_row *row = &c->result->rows[i];
    return isfinite(row->decode.value) && isfinite(report_quality(row, c->measure).value);
}

static double value_of(const chart *c, int32_t i)
{
    return report_quality(&c->result->rows[i], c->measure).value;
}

static double x_of(const chart *c, double speed)
{
    return LEFT + speed / c->speed_most * (WIDTH - LEFT - RIGHT);
}

/* From 0 at the worst value to 1 at the best. */
static double height_of(const chart *c, double value)
{
    double part = c->high > c->low ? (value - c->low) / (c->high - c->low) : 0.5;
    if (c->measure == REPORT_TASKS) return part;
    return 1 - sqrt(part > 0 ? part : 0);
}

static double y_of(const chart *c, double value)
{
    return HEIGHT - BOTTOM - (0.04 + 0.92 * height_of(c, value)) * (HEIGHT - TOP - BOTTOM);
}

static chart chart_of(const report_result *result, report_measure measure)
{
    chart c = {.result = result, .measure = measure, .low = INFINITY, .high = -INFINITY};
    for (int32_t i = 0; i < result->config->n_settings; i++) {
        if (!is_drawn(&c, i)) continue;
        double speed = result->rows[i].decode.high, value = value_of(&c, i);
        if (!(speed >= result->rows[i].decode.value)) speed = result->rows[i].decode.value;
        if (speed > c.speed_most) c.speed_most = speed;
        if (value < c.low) c.low = value;
        if (value > c.high) c.high = value;
    }
    c.speed_most *= 1.12;
    return c;
}

/* 1, 2 or 5 times a power of ten, so that about n of them make the range. */
static double step_of(double range, int n)
{
    double raw = range / n, power = pow(10, floor(log10(raw))), digit = raw / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static void print_line(FILE *out, double x1, double y1, double x2, double y2, const char *class)
{
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
            x2, y2, class);
}

static void print_axes(FILE *out, const chart *c)
{
    static const char *const names[] = {"perplexity", "KL divergence, nats a token",
                                        "tasks answered rightly, mean"};
    double step = step_of(c->speed_most, 8), last = INFINITY;
    for (double v = 0; v < c->speed_most; v += step) {
        print_line(out, x_of(c, v), TOP, x_of(c, v), HEIGHT - BOTTOM, "grid");
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x_of(c, v),
                HEIGHT - BOTTOM + 17, v);
    }
    fprintf(out,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">tokens a second, decoding \xe2\x86\x92"
            "</text>\n<text x=\"%d\" y=\"%d\">\xe2\x86\x91 better: %s</text>\n",
            WIDTH - RIGHT, HEIGHT - 12, LEFT - 40, TOP - 14, names[c->measure]);
    if (!(c->high > c->low)) return;
    step = step_of(c->high - c->low, c->measure == REPORT_TASKS ? 6 : 12);
    for (double v = ceil(c->low / step) * step; v <= c->high + step * 1e-6; v += step) {
        double y = y_of(c, v);
        if (fabs(y - last) < 18) continue;
        last = y;
        print_line(out, LEFT, y, WIDTH - RIGHT, y, "grid");
        fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 8, y + 4,
                fabs(v) < step * 1e-6 ? 0 : v);
    }
}

/* Points of the front by speed. Returns how many. */
static int32_t front_of(const chart *c, int32_t *front)
{
    int32_t n = 0;
    for (int32_t i = 0; i < c->result->config->n_settings; i++) {
        if (!report_is_front(c->result, i, c->measure)) continue;
        int32_t at = n++;
        while (at &&
               c->result->rows[front[at - 1]].decode.value > c->result->rows[i].decode.value) {
            front[at] = front[at - 1];
            at--;
        }
        front[at] = i;
    }
    return n;
}

static void print_front(FILE *out, const chart *c)
{
    int32_t front[REPORT_SETTINGS_MAX], n = front_of(c, front);
    fputs("<polyline class=\"front\" points=\"", out);
    for (int32_t i = 0; i < n; i++)
        fprintf(out, "%.1f,%.1f ", x_of(c, c->result->rows[front[i]].decode.value),
                y_of(c, value_of(c, front[i])));
    fputs("\"/>\n", out);
}

static void print_point(FILE *out, const chart *c, int32_t i)
{
    const report_row *row = &c->result->rows[i];
    double x = x_of(c, row->decode.value), y = y_of(c, value_of(c, i));
    bool front = report_is_front(c->result, i, c->measure);
    if (row->decode.high > row->decode.low)
        print_line(out, x_of(c, row->decode.low), y, x_of(c, row->decode.high), y, "range");
    fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"%s\"><title>", x, y,
            front ? "4.5" : "3.5", front ? "best" : "beaten");
    report_print_escaped(out, row->setting->name);
    fprintf(out, ": %.1f tokens/s, %.4g</title></circle>\n", row->decode.value, value_of(c, i));
}

static bool overlap(const box *a, const box *b)
{
    return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

/* Beside the point, where no other label or point is; nowhere if all places are taken. */
static bool place_label(const chart *c, int32_t i, const box *taken, int32_t n, box *place)
{
    double x = x_of(c, c->result->rows[i].decode.value), y = y_of(c, value_of(c, i));
    double wide = LETTER * (double)strlen(c->result->rows[i].setting->name);
    /* not on the level of the point, where the range of its speed is drawn, if that can be */
    static const double places[][3] = {{5, -12, 0},    {5, 12, 0}, {-5, -12, -1}, {-5, 12, -1},
                                       {0, -14, -0.5}, {8, 0, 0},  {0, 14, -0.5}, {-8, 0, -1},
                                       {5, -24, 0},    {5, 24, 0}};
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        double left = x + places[p][0] + places[p][2] * wide, top = y + places[p][1] - LINE / 2.0;
        *place = (box){left, top, left + wide, top + LINE};
        bool free = left > LEFT && left + wide < WIDTH && top > TOP - LINE && top < HEIGHT - BOTTOM;
        for (int32_t t = 0; t < n && free; t++)
            free = !overlap(place, &taken[t]);
        if (free) return true;
    }
    return false;
}

/* Those of the front first: they must be there. */
static void print_labels(FILE *out, const chart *c)
{
    box taken[2 * REPORT_SETTINGS_MAX];
    int32_t n = 0, settings = c->result->config->n_settings;
    for (int32_t i = 0; i < settings; i++) {
        if (!is_drawn(c, i)) continue;
        double x = x_of(c, c->result->rows[i].decode.value), y = y_of(c, value_of(c, i));
        taken[n++] = (box){x - 4, y - 4, x + 4, y + 4};
    }
    for (int pass = 0; pass < 2; pass++)
        for (int32_t i = 0; i < settings; i++) {
            box place;
            bool front = report_is_front(c->result, i, c->measure);
            if (!is_drawn(c, i) || front != (pass == 0)) continue;
            if (!place_label(c, i, taken, n, &place)) continue;
            taken[n++] = place;
            fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", place.left, place.bottom - 3,
                    front ? "best" : "beaten");
            report_print_escaped(out, c->result->rows[i].setting->name);
            fputs("</text>\n", out);
        }
}

void report_print_chart(FILE *out, const report_result *result, report_measure measure, bool alone)
{
    chart c = chart_of(result, measure);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    if (alone)
        fputs("<style>text{fill:#333}.grid{stroke:#e4e4e4}.range{stroke:#999}.front{fill:none;"
              "stroke:#1a6fb5;stroke-width:1.5}circle.best{fill:#1a6fb5}circle.beaten{fill:#fff;"
              "stroke:#888}text.best{font-weight:bold}text.beaten{fill:#777}</style>\n"
              "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
              out);
    print_axes(out, &c);
    print_front(out, &c);
    for (int32_t i = 0; i < result->config->n_settings; i++)
        if (is_drawn(&c, i)) print_point(out, &c, i);
    print_labels(out, &c);
    fputs("</svg>\n", out);
}
