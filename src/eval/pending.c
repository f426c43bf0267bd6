/* See pending.h. */
#include "eval/pending.h"

#include <stdlib.h>

#include "base/status.h"

typedef struct pending {
    sluice_windows windows; /* tokens are all windows' */
    int32_t *place;         /* [windows.count], among all */
    sluice_window_fn on_row;
    void *context;
} pending;

static sluice_status list(const sluice_windows *all, const sluice_scores *scores, pending *p,
                          sluice_error *err)
{
    p->windows = *all;
    p->windows.count = 0;
    p->windows.windows = calloc((size_t)all->count, sizeof *all->windows);
    p->place = calloc((size_t)all->count, sizeof *p->place);
    if (!p->windows.windows || !p->place)
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for %d windows", all->count);
    for (int32_t i = 0; i < all->count; i++) {
        if (scores->predicted[i] > 0) continue;
        p->place[p->windows.count] = i;
        p->windows.windows[p->windows.count++] = all->windows[i];
    }
    return SLUICE_OK;
}

static sluice_status pass_on(void *context, const sluice_window_row *row, sluice_error *err)
{
    const pending *p = context;
    sluice_window_row placed = *row;
    placed.window = p->place[row->window];
    return p->on_row(p->context, &placed, err);
}

sluice_status sluice_pending_run(sluice_engine *engine, const sluice_windows *windows,
                                 const sluice_scores *scores,
                                 const sluice_eval_text_options *options, sluice_window_fn on_row,
                                 void *context, sluice_error *err)
{
    pending p = {.on_row = on_row, .context = context};
    sluice_status status = list(windows, scores, &p, err);
    if (status == SLUICE_OK && p.windows.count)
        status = sluice_windows_run(engine, &p.windows, options, pass_on, &p, err);
    free(p.windows.windows);
    free(p.place);
    return status;
}
