/* A report as one page that needs nothing else: drawings, tables, and how it was measured. */
#include <math.h>

#include "report_result.h"

static const char style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--back:#fff;--text:#222;--dim:#6a6a6a;--line:#e2e2e2;"
    "--best:#1a6fb5;--tint:#eef5fb}\n"
    "@media(prefers-color-scheme:dark){:root{--back:#17191c;--text:#e4e4e4;--dim:#9a9a9a;"
    "--line:#33373c;--best:#6cb6f0;--tint:#1d2a36}}\n"
    "body{background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;"
    "max-width:1080px;margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.15em;margin:2em 0 .5em}"
    ".dim{color:var(--dim)}\n"
    "svg{max-width:100%;height:auto}svg text{fill:var(--text)}svg text.beaten{fill:var(--dim)}"
    "svg text.best{font-weight:bold}.grid{stroke:var(--line)}.range{stroke:var(--dim)}"
    ".front{fill:none;stroke:var(--best);stroke-width:1.5}circle.best{fill:var(--best)}"
    "circle.beaten{fill:var(--back);stroke:var(--dim)}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25em .6em;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th{font-weight:600;vertical-align:bottom}"
    "th:first-child,td:first-child,td.flags,th.flags{text-align:left}\n"
    "td.flags{font-family:monospace;font-size:12px;white-space:normal;min-width:15em}"
    "tr.best td:first-child{font-weight:bold;color:var(--best)}tr.best{background:var(--tint)}\n"
    "small{color:var(--dim);font-size:11px}code,pre{font-size:12px}pre{overflow-x:auto}\n"
    "</style>\n";

static void print_value(FILE *out, report_value v, double scale, int decimals, bool interval)
{
    fputs("<td>", out);
    report_print_number(out, v.value * scale, decimals);
    if (interval && v.high > v.low) {
        fputs("<br><small>", out);
        report_print_number(out, v.low * scale, decimals);
        fputs("\xe2\x80\x93", out);
        report_print_number(out, v.high * scale, decimals);
        fputs("</small>", out);
    }
    fputs("</td>", out);
}

static bool is_best(const report_result *result, int32_t row)
{
    for (int m = 0; m < REPORT_MEASURES; m++)
        if (report_is_front(result, row, (report_measure)m)) return true;
    return false;
}

static void print_name(FILE *out, const report_result *result, int32_t i)
{
    fputs(is_best(result, i) ? "<tr class=\"best\"><td>" : "<tr><td>", out);
    report_print_escaped(out, result->config->settings[i].name);
    fputs("</td>", out);
}

static void print_flags(FILE *out, const report_setting *setting)
{
    fputs("<td class=\"flags\">", out);
    report_print_flags(out, setting);
    fputs("</td>", out);
}

static void print_speed(FILE *out, const report_result *result)
{
    fputs("<h2>Speed and what it takes</h2>\n<div class=\"wide\"><table>\n<tr><th>setting</th>"
          "<th class=\"flags\">flags</th><th>experts<br>a token</th><th>tokens/s</th><th>prompt"
          "<br>tokens/s</th><th>MB read<br>a token</th><th>hits</th><th>peak<br>MB</th>"
          "<th>model<br>MB</th></tr>\n",
          out);
    for (int32_t i = 0; i < result->config->n_settings; i++) {
        const report_row *row = &result->rows[i];
        print_name(out, result, i);
        print_flags(out, row->setting);
        print_value(out, row->loads, 1, 1, false);
        print_value(out, row->decode, 1, 1, true);
        print_value(out, row->prefill, 1, 0, true);
        print_value(out, row->bytes, 1e-6, 3, false);
        print_value(out, row->hits, 100, 1, false);
        print_value(out, row->memory, 1e-6, 0, false);
        print_value(out, row->size, 1e-6, 1, false);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void print_quality(FILE *out, const report_result *result)
{
    const report_config *config = result->config;
    fputs("<h2>Quality</h2>\n<div class=\"wide\"><table>\n<tr><th>setting</th><th>perplexity</th>"
          "<th>of the<br>first</th><th>KL, nats</th><th>same<br>token, %</th>",
          out);
    for (int32_t t = 0; t < config->n_tasks; t++) {
        fputs("<th>", out);
        report_print_escaped(out, config->tasks[t].name);
        fputs("</th>", out);
    }
    fputs(config->n_tasks ? "<th>mean</th></tr>\n" : "</tr>\n", out);
    for (int32_t i = 0; i < config->n_settings; i++) {
        const report_row *row = &result->rows[i];
        print_name(out, result, i);
        print_value(out, row->perplexity, 1, 2, true);
        print_value(out, row->ratio, 1, 3, false);
        print_value(out, row->kl, 1, 4, true);
        print_value(out, row->top_1, 100, 1, false);
        for (int32_t t = 0; t < config->n_tasks; t++)
            print_value(out, row->tasks[t], 1, 2, true);
        if (config->n_tasks) print_value(out, row->tasks_mean, 1, 3, false);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void print_charts(FILE *out, const report_result *result)
{
    static const char *const titles[] = {"Speed against perplexity", "Speed against divergence",
                                         "Speed against tasks"};
    for (int m = 0; m < REPORT_MEASURES; m++) {
        if (!report_has(result, (report_measure)m)) continue;
        fprintf(out, "<h2>%s</h2>\n", titles[m]);
        report_print_chart(out, result, (report_measure)m, false);
    }
}

static void print_method(FILE *out, const report_result *result)
{
    const report_config *config = result->config;
    fputs("<h2>How it was measured</h2>\n<p>Settings on the line are those that no other one beats"
          " in both speed and quality. Perplexity and experts a token: ",
          out);
    for (int i = 0; i < config->texts.n; i++) {
        if (i) fputs(", ", out);
        report_print_escaped(out, config->texts.at[i]);
    }
    fprintf(out,
            ". Divergence is from the first setting. Small figures are 95%% intervals; of speeds "
            "the least and most of %d rounds, in which the settings take turns.</p>\n<pre>",
            config->rounds);
    report_print_escaped(out, result->command);
    fputs("</pre>\n", out);
}

void report_print_html(FILE *out, const report_result *result)
{
    const char *title = result->config->title ? result->config->title : "Speed against quality";
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta "
          "name=\"viewport\" content=\"width=device-width\">\n<title>",
          out);
    report_print_escaped(out, title);
    fputs("</title>\n", out);
    fputs(style, out);
    fputs("</head><body>\n<h1>", out);
    report_print_escaped(out, title);
    fputs("</h1>\n<p class=\"dim\">", out);
    report_print_escaped(out, result->model);
    fputs("<br>", out);
    report_print_escaped(out, result->machine);
    fprintf(out, "<br>%s</p>\n", result->when);
    print_charts(out, result);
    print_speed(out, result);
    print_quality(out, result);
    print_method(out, result);
    fputs("</body></html>\n", out);
}
