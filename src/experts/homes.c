/* Choosing among disks (see homes.h). */
#include "experts/homes.h"

#include <string.h>

/* A read's weight in the measured speed shrinks by this with each one after it. */
#define KEEP 0.9
/* A home that so many reads have passed over is measured again. */
#define TURNS_MAX 64

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

int32_t sluice_homes_of(sluice_homes *homes, const char *path)
{
    size_t length = folder_length(path);
    for (int32_t i = 0; i < homes->n; i++)
        if (folder_length(homes->at[i].path) == length && !strncmp(homes->at[i].path, path, length))
            return i;
    if (homes->n == SLUICE_HOMES_MAX) return -1;
    homes->at[homes->n] = (sluice_home){.path = path};
    return homes->n++;
}

/* Bytes per microsecond; 0 if nothing has been read yet. */
static double speed_of(const sluice_home *home)
{
    return home->busy_us > 0 ? home->busy_bytes / home->busy_us : 0;
}

int32_t sluice_homes_choose(const sluice_homes *homes, const uint8_t *choices, int32_t n,
                            uint64_t bytes)
{
    double fastest = 0, best_time = 0;
    int32_t best = 0;
    for (int32_t i = 0; i < n; i++) {
        double speed = speed_of(&homes->at[choices[i]]);
        if (speed > fastest) fastest = speed;
    }
    if (fastest <= 0) fastest = 1;
    for (int32_t i = 0; i < n; i++) {
        const sluice_home *home = &homes->at[choices[i]];
        double speed = speed_of(home); /* one that is not known yet is taken for a fast one */
        if (homes->turn - home->turn > TURNS_MAX) return i;
        double time = (double)(home->bytes_under_way + bytes) / (speed > 0 ? speed : fastest);
        if (i && time >= best_time) continue;
        best = i;
        best_time = time;
    }
    return best;
}

void sluice_homes_start(sluice_homes *homes, int32_t home, uint64_t bytes)
{
    homes->at[home].bytes_under_way += bytes;
    homes->at[home].turn = ++homes->turn;
}

void sluice_homes_end(sluice_homes *homes, int32_t home, uint64_t bytes, uint64_t started_us,
                      uint64_t now_us, int arrived)
{
    sluice_home *self = &homes->at[home];
    self->bytes_under_way -= bytes;
    if (!arrived) return;
    /* Reads queue: this one had the disk from when it started, or the one before it arrived. */
    uint64_t from = started_us > self->last_us ? started_us : self->last_us;
    self->busy_us = self->busy_us * KEEP + (double)(now_us > from ? now_us - from : 0);
    self->busy_bytes = self->busy_bytes * KEEP + (double)bytes;
    self->bytes_read += bytes;
    self->last_us = now_us;
}
