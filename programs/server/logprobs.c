/* Log probabilities; see logprobs.h. */
#include "server/logprobs.h"

#include <math.h>

void server_logprobs(const float *logits, int32_t vocab, int32_t token, int32_t top,
                     server_logprob *out)
{
    server_logprob *best = out + 1;
    int32_t n = 0;
    double sum = 0.0;
    float largest = -INFINITY;
    for (int32_t i = 0; i < vocab; i++)
        if (logits[i] > largest) largest = logits[i];
    for (int32_t i = 0; i < vocab; i++) {
        sum += exp((double)(logits[i] - largest));
        if (top == 0 || (n == top && logits[i] <= best[n - 1].logprob)) continue;
        int32_t at = n < top ? n++ : n - 1;
        for (; at > 0 && logits[i] > best[at - 1].logprob; at--)
            best[at] = best[at - 1];
        best[at] = (server_logprob){i, logits[i]};
    }
    float base = largest + (float)log(sum);
    out[0] = (server_logprob){token, logits[token] - base};
    for (int32_t i = 0; i < n; i++)
        best[i].logprob -= base;
    for (int32_t i = n; i < top; i++)
        best[i] = (server_logprob){-1, 0.0f};
}
