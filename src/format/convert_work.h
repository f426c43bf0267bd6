/* The folder that a conversion works in: "OUT.partial" beside OUT, and how it survives being
 * killed.
 *
 *   OUT.partial/lock           held by the process that converts
 *   OUT.partial/journal.json   fingerprint of source and options, and the shards' times
 *   OUT.partial/source/        headers of the source's shards, once some may be deleted
 *   OUT.partial/model/         becomes OUT by one rename at the end
 *
 * A tensor file in model/ has its final name only when it is whole and durable, so the files
 * themselves say how far the work has come. Internal to format/. */
#ifndef SLUICE_FORMAT_CONVERT_WORK_H
#define SLUICE_FORMAT_CONVERT_WORK_H

#include "format/convert_plan.h"

typedef struct sluice_work {
    char *out, *dir, *model, *headers, *journal, *lock;
    int lock_fd;
    bool made; /* by this run: nothing in it is worth keeping if the run fails early */
} sluice_work;

/* Paths only; touches nothing. */
sluice_status sluice_work_new(const char *out, sluice_work *work, sluice_error *err);
void sluice_work_free(sluice_work *work);

/* Makes and locks the folder. SLUICE_USAGE if another process holds it. */
sluice_status sluice_work_lock(sluice_work *work, sluice_error *err);

/* Where headers of consumed shards would be; NULL if there are none. */
const char *sluice_work_headers(const sluice_work *work);

/* Compares the journal with the plan and marks the plan's finished files. What belongs to another
 * source or other options is thrown away if `writable`, except when shards were consumed for it. */
sluice_status sluice_work_resume(const sluice_work *work, sluice_plan *plan, bool writable,
                                 sluice_error *err);

/* Writes the journal (and the shards' headers for consume), the config and the tokenizer's files.
 */
sluice_status sluice_work_begin(const sluice_work *work, const sluice_plan *plan, bool consume,
                                sluice_error *err);

/* Renames model/ to OUT and removes the rest. */
sluice_status sluice_work_finish(sluice_work *work, sluice_error *err);

/* After a failure: removes the folder if this run made it and nothing was finished; unlocks. */
void sluice_work_abandon(sluice_work *work, const sluice_plan *plan);

#endif
