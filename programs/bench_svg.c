/* See bench_svg.h. Each kind has a scale of its own, since a prefilled token costs far less than a
 * decoded one. */
#include "bench_svg.h"

enum { WIDTH = 900, LEFT = 150, RIGHT = 250, ROW = 34, BAR = 20, TOP = 92 };

static const struct {
    const char *name, *colour;
} parts[] = {{"trunk", "#4e79a7"},
             {"experts", "#59a14f"},
             {"waiting for the disk", "#e15759"},
             {"head", "#b07aa1"},
             {"other", "#bab0ac"}};
enum { PARTS = sizeof parts / sizeof *parts };

static double part_ms(const bench_row *row, int part)
{
    const double ms[PARTS] = {row->trunk_ms, row->experts_ms, row->waiting_ms, row->head_ms,
                              row->other_ms};
    return ms[part] > 0 ? ms[part] : 0;
}

/* Milliseconds at the right end of the bars of a kind. */
static double scale_of(const bench_result *result, const bench_row *rows, bool prefill)
{
    double most = 1e-9;
    for (int32_t i = 0; i < result->n_points; i++) {
        double ms = 0;
        for (int p = 0; p < PARTS; p++)
            ms += part_ms(&rows[i], p);
        if (rows[i].floor_ms > ms) ms = rows[i].floor_ms;
        if (rows[i].prefill == prefill && ms > most) most = ms;
    }
    return most;
}

/* Text of a file name within XML. */
static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

static void print_legend(FILE *out)
{
    int x = LEFT;
    static const int widths[PARTS] = {64, 78, 154, 60, 60};
    for (int p = 0; p < PARTS; p++) {
        fprintf(out, "<rect x=\"%d\" y=\"60\" width=\"12\" height=\"12\" fill=\"%s\"/>", x,
                parts[p].colour);
        fprintf(out, "<text x=\"%d\" y=\"70\">%s</text>\n", x + 16, parts[p].name);
        x += widths[p];
    }
    fprintf(out,
            "<line x1=\"%d\" y1=\"58\" x2=\"%d\" y2=\"74\" stroke=\"#000\" "
            "stroke-width=\"2\"/><text x=\"%d\" y=\"70\">floor</text>\n",
            x + 4, x + 4, x + 12);
}

static void print_row(FILE *out, const bench_row *row, double scale, int y)
{
    double x = LEFT, unit = (WIDTH - LEFT - RIGHT) / scale;
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %d at %d</text>\n", LEFT - 8,
            y + 15, row->prefill ? "prefill" : "decode", row->tokens, row->context);
    for (int p = 0; p < PARTS; p++) {
        double width = part_ms(row, p) * unit;
        fprintf(out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", x, y,
                width, BAR, parts[p].colour);
        x += width;
    }
    double floor = LEFT + row->floor_ms * unit;
    fprintf(out,
            "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#000\" "
            "stroke-width=\"2\"/>\n",
            floor, y - 3, floor, y + BAR + 3);
    fprintf(out, "<text x=\"%d\" y=\"%d\">%.2f tokens/s, %.2f of the floor</text>\n",
            WIDTH - RIGHT + 8, y + 15, row->tokens_per_second.median, row->floor_fraction.median);
}

void bench_print_svg(FILE *out, const bench_result *result, const bench_row *rows)
{
    const sluice_model_info *info = &result->info;
    int32_t n = result->repetitions;
    int height = TOP + result->n_points * ROW + 16;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n",
            WIDTH, height, WIDTH, height);
    fprintf(out,
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"16\" y=\"26\" "
            "font-size=\"16\">",
            WIDTH, height);
    print_escaped(out, info->name);
    fprintf(out,
            ": time of a token</text>\n<text x=\"16\" y=\"46\" fill=\"#555\">%d layers, %.1f GB "
            "of experts, %.1f GB of them in memory; %d threads; disk %.2f GB/s, memory %.1f "
            "GB/s</text>\n",
            info->layers, (double)info->bank_bytes * 1e-9, (double)info->cache_bytes * 1e-9,
            info->threads, bench_spread_of(result->disk_speeds, n).median * 1e-9,
            bench_spread_of(result->memory_speeds, n).median * 1e-9);
    print_legend(out);
    int y = TOP;
    for (int prefill = 0; prefill <= 1; prefill++) {
        double scale = scale_of(result, rows, prefill);
        for (int32_t i = 0; i < result->n_points; i++) {
            if (rows[i].prefill != (prefill != 0)) continue;
            print_row(out, &rows[i], scale, y);
            y += ROW;
        }
    }
    fputs("</svg>\n", out);
}
