/* See calibrate_report.h. */
#include "calibrate_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

enum { KS_MAX = 5 };

/* The ks of a table: none, one, a quarter, a half, three quarters. Returns how many. */
static int table_ks(int32_t top_k, int32_t *ks)
{
    int n = 0;
    const int32_t wanted[KS_MAX] = {0, 1, top_k / 4, top_k / 2, 3 * top_k / 4};
    for (int i = 0; i < KS_MAX; i++)
        if (n == 0 || wanted[i] > ks[n - 1]) ks[n++] = wanted[i];
    return n;
}

static void print_heading(const char *title, const int32_t *ks, int n, const char *more)
{
    printf("\n%s\nlayer", title);
    for (int i = 0; i < n; i++) {
        char name[24] = "shared";
        if (ks[i]) snprintf(name, sizeof name, "k=%d", ks[i]);
        printf("  %7s", name);
    }
    printf("%s\n", more);
}

void calibrate_print_table(const sluice_calibration *c)
{
    sluice_calibration_info info = sluice_calibration_describe(c);
    int32_t ks[KS_MAX];
    int n = table_ks(info.top_k, ks);
    printf("%s: %d layers, %d of %d experts, %d tokens%s\n", info.model, info.layers, info.top_k,
           info.experts, info.tokens, info.complete ? "" : " (not complete)");
    print_heading("cosine of the residual stream after the layer", ks, n,
                  "   wanted   top 10%   repeated   entropy");
    for (int32_t l = 0; l < info.layers; l++) {
        sluice_calibration_routing r = sluice_calibration_routes(c, l);
        printf("%5d", l);
        for (int i = 0; i < n; i++)
            printf("  %7.4f", sluice_calibration_at(c, l, ks[i]).cosine_stream);
        printf("  %7d  %7.1f%%  %8.1f%%  %8.3f\n", r.used, 100 * r.top_tenth, 100 * r.overlap,
               r.entropy);
    }
    print_heading("relative error of the layer's output", ks, n, "");
    for (int32_t l = 0; l < info.layers; l++) {
        printf("%5d", l);
        for (int i = 0; i < n; i++)
            printf("  %7.4f", sluice_calibration_at(c, l, ks[i]).error);
        putchar('\n');
    }
    print_heading("the same with weights that are fitted, not renormalised; the factor by k", ks, n,
                  "");
    for (int32_t l = 0; l < info.layers; l++) {
        printf("%5d", l);
        for (int i = 0; i < n; i++)
            printf("  %7.4f", sluice_calibration_at(c, l, ks[i]).gain_error);
        printf("  ");
        for (int i = 1; i < n; i++)
            printf(" %.2f", sluice_calibration_at(c, l, ks[i]).gain);
        putchar('\n');
    }
    if (!info.effect_tokens) return;
    print_heading("so: effect on the predictions, thousandths of a nat a token", ks, n, "");
    for (int32_t l = 0; l < info.layers; l++) {
        printf("%5d", l);
        for (int i = 0; i < n; i++) {
            double effect = sluice_calibration_at(c, l, ks[i]).effect;
            if (effect < 0)
                printf("  %7s", "");
            else
                printf("  %7.2f", 1000 * effect);
        }
        putchar('\n');
    }
}

static json_t *point_json(sluice_calibration_point p, int32_t k)
{
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "k", k, "cosine", p.cosine,
                     "cosine_stream", p.cosine_stream, "error", p.error, "error_stream",
                     p.error_stream, "gain", p.gain, "gain_error", p.gain_error, "effect",
                     p.effect < 0 ? json_null() : json_real(p.effect));
}

json_t *calibrate_json(const sluice_calibration *c)
{
    sluice_calibration_info info = sluice_calibration_describe(c);
    json_t *layers = json_array();
    for (int32_t l = 0; l < info.layers; l++) {
        sluice_calibration_routing r = sluice_calibration_routes(c, l);
        json_t *points = json_array(), *gates = json_array();
        for (int32_t k = 0; k <= info.top_k; k++)
            json_array_append_new(points, point_json(sluice_calibration_at(c, l, k), k));
        for (int32_t i = 0; i < info.top_k; i++)
            json_array_append_new(gates, json_real(sluice_calibration_gate(c, l, i)));
        json_array_append_new(layers, json_pack("{s:i, s:f, s:f, s:i, s:f, s:o, s:o}", "layer", l,
                                                "entropy", r.entropy, "overlap", r.overlap,
                                                "experts_used", r.used, "top_tenth", r.top_tenth,
                                                "gates", gates, "by_k", points));
    }
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:o}", "model", info.model, "experts",
                     info.experts, "top_k", info.top_k, "tokens", info.tokens, "effect_tokens",
                     info.effect_tokens, "complete", info.complete, "layers", layers);
}

static json_t *budget_json(const sluice_calibration_ruling *layers, int32_t n, double loads)
{
    json_t *ks = json_array(), *masses = json_array(), *gains = json_array();
    for (int32_t l = 0; l < n; l++) {
        json_array_append_new(ks, json_integer(layers[l].k));
        json_array_append_new(masses, json_real((double)layers[l].share));
        json_array_append_new(gains, json_real((double)layers[l].gain));
    }
    return json_pack("{s:f, s:o, s:o, s:o}", "loads", loads, "k", ks, "mass", masses, "gain",
                     gains);
}

static void print_budget(const sluice_calibration_ruling *layers, int32_t n, double loads)
{
    printf("%.2f loads a token\nlayer  experts  of the gates  factor\n", loads);
    for (int32_t l = 0; l < n; l++) {
        printf("%5d  %7d  %11.0f%%", l, layers[l].k, 100 * (double)layers[l].share);
        if (layers[l].gain > 0)
            printf("  %6.3f\n", (double)layers[l].gain);
        else
            puts("       -");
    }
}

int calibrate_print_budget(const sluice_calibration *c, double budget, bool json)
{
    int32_t n = sluice_calibration_describe(c).layers;
    double loads;
    sluice_error err = {0};
    sluice_calibration_ruling *layers = calloc((size_t)n, sizeof *layers);
    if (!layers) return cli_fail("not enough memory for the layers");
    int status;
    if (sluice_calibration_budget(c, budget, layers, &loads, &err) != SLUICE_OK) {
        status = cli_fail_error(&err);
    } else if (json) {
        status = cli_output_json(budget_json(layers, n, loads));
    } else {
        print_budget(layers, n, loads);
        status = cli_output_finish();
    }
    free(layers);
    return status;
}

enum { LEFT = 64, TOP = 76, ROW = 22, PLOT = 330, GAP = 70, BOTTOM = 46 };

/* From the shared expert alone (dark red) to all experts but one (pale). */
static void print_colour(FILE *out, int i, int n)
{
    double t = n > 1 ? (double)i / (n - 1) : 0;
    fprintf(out, "rgb(%d,%d,%d)", (int)(178 + t * 60), (int)(24 + t * 180), (int)(43 + t * 150));
}

typedef double (*measure)(const sluice_calibration *c, int32_t layer, int32_t k);

static double most_of(const sluice_calibration *c, const int32_t *ks, int n, measure value)
{
    int32_t layers = sluice_calibration_describe(c).layers;
    double most = 0;
    for (int32_t l = 0; l < layers; l++)
        for (int i = 0; i < n; i++)
            if (value(c, l, ks[i]) > most) most = value(c, l, ks[i]);
    return most;
}

static void print_bar(FILE *out, double x, int y, double width, int i, int n)
{
    fprintf(out, "<rect x=\"%.0f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"", x, y + 2, width,
            ROW - 4);
    print_colour(out, i, n);
    fputs("\"/>", out);
}

/* A number per layer and k as nested bars, the longest behind: more experts are not always nearer.
 */
static void print_plot(FILE *out, const sluice_calibration *c, double x, const char *title,
                       measure value)
{
    sluice_calibration_info info = sluice_calibration_describe(c);
    int32_t ks[KS_MAX];
    int n = table_ks(info.top_k, ks);
    double most = most_of(c, ks, n, value);
    fprintf(out, "<text x=\"%.0f\" y=\"62\" font-weight=\"bold\">%s</text>\n", x, title);
    for (int32_t l = 0; l < info.layers && most > 0; l++) {
        int y = TOP + l * ROW;
        double longest = 0, drawn = INFINITY;
        for (int left = n; left > 0; left--) { /* the longest that is not drawn yet */
            int next = -1;
            for (int i = 0; i < n; i++) {
                double v = value(c, l, ks[i]);
                if (v >= 0 && v < drawn && (next < 0 || v > value(c, l, ks[next]))) next = i;
            }
            if (next < 0) break;
            drawn = value(c, l, ks[next]);
            if (drawn > longest) longest = drawn;
            print_bar(out, x, y, drawn / most * PLOT, next, n);
        }
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" fill=\"#555\">%.3g</text>\n",
                x + longest / most * PLOT + 4, y + 15, longest);
    }
}

static double error_of(const sluice_calibration *c, int32_t layer, int32_t k)
{
    return sluice_calibration_at(c, layer, k).gain_error;
}

static double effect_of(const sluice_calibration *c, int32_t layer, int32_t k)
{
    return sluice_calibration_at(c, layer, k).effect;
}

static double turn_of(const sluice_calibration *c, int32_t layer, int32_t k)
{
    return 1 - sluice_calibration_at(c, layer, k).cosine_stream;
}

static void print_legend(FILE *out, int32_t top_k, int y)
{
    int32_t ks[KS_MAX];
    int n = table_ks(top_k, ks), x = LEFT;
    for (int i = 0; i < n; i++, x += 112) {
        fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"", x, y);
        print_colour(out, i, n);
        fprintf(out, "\"/><text x=\"%d\" y=\"%d\">", x + 17, y + 10);
        if (ks[i])
            fprintf(out, "%d expert%s</text>\n", ks[i], ks[i] == 1 ? "" : "s");
        else
            fprintf(out, "shared alone</text>\n");
    }
}

void calibrate_print_svg(FILE *out, const sluice_calibration *c)
{
    sluice_calibration_info info = sluice_calibration_describe(c);
    int plots = info.effect_tokens ? 3 : 2, height = TOP + info.layers * ROW + BOTTOM;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"28\" font-size=\"16\">What each layer loses with fewer of its %d "
            "experts (%d tokens)</text>\n",
            LEFT + plots * (PLOT + GAP), height, LEFT, info.top_k, info.tokens);
    for (int32_t l = 0; l < info.layers; l++)
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s%d</text>\n", LEFT - 8,
                TOP + l * ROW + 15, l ? "" : "layer ", l);
    print_plot(out, c, LEFT, "1 - cosine of the stream (renormalised)", turn_of);
    print_plot(out, c, LEFT + PLOT + GAP, "relative error of the output (fitted)", error_of);
    if (info.effect_tokens)
        print_plot(out, c, LEFT + 2 * (PLOT + GAP), "effect on predictions, nats a token (fitted)",
                   effect_of);
    print_legend(out, info.top_k, height - 26);
    fprintf(out, "</svg>\n");
}
