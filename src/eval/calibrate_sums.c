/* Adding up what fewer experts change (see calibrate_sums.h). */
#include "eval/calibrate_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sluice_calibrate_sums {
    sluice_calibration *c;
    sluice_policy policy; /* of the model itself: says which experts hold a share of the gates */
    int32_t hidden;
    double *full, *part; /* [hidden]: the layer's output, and the weighted sum of its first experts
                          */
    float *probs;        /* [top_k] */
    sluice_calibration_choice *by_k; /* [top_k + 1], of one token */
    int32_t *before;                 /* [layers, top_k], the experts of the token before; -1 */
};

sluice_status sluice_calibrate_sums_new(sluice_calibration *c, int32_t hidden,
                                        sluice_calibrate_sums **out, sluice_error *err)
{
    size_t k = (size_t)c->top_k;
    sluice_calibrate_sums *s = calloc(1, sizeof *s);
    if (!s) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a calibration");
    s->c = c;
    s->hidden = hidden;
    s->policy = sluice_policy_of(c->experts, c->top_k, c->top_k);
    s->full = calloc((size_t)hidden, 2 * sizeof *s->full);
    s->probs = calloc(k, sizeof *s->probs);
    s->by_k = calloc(k + 1, sizeof *s->by_k);
    s->before = calloc((size_t)c->layers * k, sizeof *s->before);
    if (!s->full || !s->probs || !s->by_k || !s->before) {
        sluice_calibrate_sums_free(s);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a calibration");
    }
    s->part = s->full + hidden;
    *out = s;
    return SLUICE_OK;
}

void sluice_calibrate_sums_free(sluice_calibrate_sums *sums)
{
    if (!sums) return;
    free(sums->full);
    free(sums->probs);
    free(sums->by_k);
    free(sums->before);
    free(sums);
}

void sluice_calibrate_sums_begin(sluice_calibrate_sums *s)
{
    for (int32_t i = 0; i < s->c->layers * s->c->top_k; i++)
        s->before[i] = -1;
}

static void add_routing(sluice_calibrate_sums *s, const sluice_moe_observation *seen)
{
    sluice_calibration_layer *layer = &s->c->layer[seen->layer];
    int32_t k = s->c->top_k, *before = s->before + (size_t)seen->layer * (size_t)k, same = 0;
    for (int32_t i = 0; i < s->c->experts; i++) {
        double p = (double)seen->gates[i];
        if (p > 0) layer->entropy -= p * log(p);
    }
    for (int32_t j = 0; j < k; j++) {
        layer->gate[j] += (double)seen->gates[seen->ids[j]];
        layer->uses[seen->ids[j]]++;
        for (int32_t i = 0; i < k; i++)
            same += before[i] == seen->ids[j];
    }
    layer->overlap += (double)same / k;
    memcpy(before, seen->ids, (size_t)k * sizeof *before);
}

/* What shared + part * scale is like beside the full output. */
static sluice_calibration_choice
compare(const sluice_calibrate_sums *s, const sluice_moe_observation *seen, int32_t k, double scale)
{
    double error = 0, dot = 0, part = 0, routed = 0, own = 0, full = 0, stream_dot = 0,
           stream_own = 0, stream_full = 0;
    for (int32_t i = 0; i < s->hidden; i++) {
        double y = s->full[i], x = (double)seen->shared[i] + scale * s->part[i];
        double h = (double)seen->stream[i];
        error += (y - x) * (y - x);
        dot += x * y;
        part += s->part[i] * s->part[i];
        routed += s->part[i] * (y - (double)seen->shared[i]);
        own += x * x;
        full += y * y;
        stream_dot += (h + x) * (h + y);
        stream_own += (h + x) * (h + x);
        stream_full += (h + y) * (h + y);
    }
    double lengths = sqrt(own * full), stream_lengths = sqrt(stream_own * stream_full);
    return (sluice_calibration_choice){.loads = k,
                                       .cosine = lengths > 0 ? dot / lengths : 0,
                                       .cosine_stream =
                                           stream_lengths > 0 ? stream_dot / stream_lengths : 0,
                                       .error_squared = error,
                                       .part_squared = part,
                                       .dot = routed};
}

static void add_choice(sluice_calibration_choice *to, const sluice_calibration_choice *from)
{
    to->loads += from->loads;
    to->cosine += from->cosine;
    to->cosine_stream += from->cosine_stream;
    to->error_squared += from->error_squared;
    to->part_squared += from->part_squared;
    to->dot += from->dot;
}

void sluice_calibrate_sums_add(sluice_calibrate_sums *s, const sluice_moe_observation *seen)
{
    sluice_calibration_layer *layer = &s->c->layer[seen->layer];
    int32_t k = s->c->top_k, hidden = s->hidden;
    double held = 0;
    add_routing(s, seen);
    for (int32_t i = 0; i < hidden; i++) {
        s->full[i] = (double)seen->shared[i];
        for (int32_t j = 0; j < k; j++)
            s->full[i] += (double)seen->weights[j] * (double)seen->outputs[j * hidden + i];
        double stream = s->full[i] + (double)seen->stream[i];
        layer->output_squared += s->full[i] * s->full[i];
        layer->stream_squared += stream * stream;
        s->part[i] = 0;
    }
    s->by_k[0] = compare(s, seen, 0, 0);
    for (int32_t j = 0; j < k; j++) {
        double weight = (double)seen->weights[j];
        for (int32_t i = 0; i < hidden; i++)
            s->part[i] += weight * (double)seen->outputs[j * hidden + i];
        held += weight;
        s->by_k[j + 1] = compare(s, seen, j + 1, held > 0 ? 1 / held : 0);
        s->probs[j] = seen->gates[seen->ids[j]];
    }
    for (int32_t j = 0; j <= k; j++)
        add_choice(&layer->by_k[j], &s->by_k[j]);
    for (int32_t i = 0; i < SLUICE_CALIBRATION_MASSES; i++) {
        sluice_policy_rule rule = {k, sluice_calibration_mass(i), 0};
        add_choice(&layer->by_mass[i], &s->by_k[sluice_policy_keeps(&s->policy, rule, s->probs)]);
    }
}
