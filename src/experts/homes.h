/* The disks that records are read from: which one a read goes to when several have its file.
 *
 * What: a home is a folder that holds expert files. Each remembers how many bytes are on their way
 * from it and how fast they came lately; a read goes where it will be there first. So a slow disk
 * beside a fast one gets the share that it can carry, and one that stalls gets nothing more but a
 * read now and then, to find out whether it still does.
 *
 * What it does not do: read, or look at the clock (time is an argument). */
#ifndef SLUICE_EXPERTS_HOMES_H
#define SLUICE_EXPERTS_HOMES_H

#include <stdint.h>

#define SLUICE_HOMES_MAX 16

typedef struct sluice_home {
    const char *path; /* a file in it; the folder is what comes before the last slash */
    uint64_t bytes_under_way, bytes_read;
    uint64_t last_us;           /* when the last read arrived */
    uint64_t turn;              /* number of the last read that went here */
    double busy_us, busy_bytes; /* of late: what it carried, and in which time */
} sluice_home;

typedef struct sluice_homes {
    sluice_home at[SLUICE_HOMES_MAX];
    int32_t n;
    uint64_t turn; /* reads so far */
} sluice_homes;

/* The home of a file's folder, added if it is new; -1 if there is no room for it. path must outlive
 * the homes. */
int32_t sluice_homes_of(sluice_homes *homes, const char *path);

/* Which of the n homes in choices (entries may be equal) a read of so many bytes goes to: an index
 * into choices. Ties go to the first. */
int32_t sluice_homes_choose(const sluice_homes *homes, const uint8_t *choices, int32_t n,
                            uint64_t bytes);

void sluice_homes_start(sluice_homes *homes, int32_t home, uint64_t bytes);
/* The read that started at started_us has ended. bytes count as read only if arrived. */
void sluice_homes_end(sluice_homes *homes, int32_t home, uint64_t bytes, uint64_t started_us,
                      uint64_t now_us, int arrived);

#endif
