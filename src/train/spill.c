/* An array of floats on disk (see spill.h). */
#include "train/spill.h"

#include "os/file.h"

size_t sluice_spill_floats(size_t floats)
{
    return (floats + SLUICE_SPILL_BLOCK - 1) / SLUICE_SPILL_BLOCK * SLUICE_SPILL_BLOCK;
}

sluice_status sluice_spill_new(const char *dir, const char *name, uint64_t floats,
                               sluice_spill *out, sluice_error *err)
{
    *out = (sluice_spill){.file = -1, .name = name};
    return sluice_file_open_unnamed(dir, sluice_spill_floats(floats) * sizeof(float), &out->file,
                                    err);
}

void sluice_spill_free(sluice_spill *spill)
{
    if (spill->file >= 0) sluice_file_close(spill->file);
    spill->file = -1;
}

sluice_status sluice_spill_read(const sluice_spill *spill, uint64_t at, size_t floats, float *to,
                                sluice_error *err)
{
    return sluice_file_read(spill->file, spill->name, at * sizeof(float), to,
                            sluice_spill_floats(floats) * sizeof(float), err);
}

sluice_status sluice_spill_write(const sluice_spill *spill, uint64_t at, size_t floats,
                                 const float *from, sluice_error *err)
{
    return sluice_file_write(spill->file, spill->name, at * sizeof(float), from,
                             sluice_spill_floats(floats) * sizeof(float), err);
}
