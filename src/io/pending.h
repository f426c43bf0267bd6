/* One read under way, and what a transfer of some of its bytes means for it: shared by every
 * engine, the simulated disk included, so that short reads are continued in one way. */
#ifndef SLUICE_IO_PENDING_H
#define SLUICE_IO_PENDING_H

#include <errno.h>

#include "io/io.h"

/* The most that one system call or one ring entry is asked for. */
#define SLUICE_IO_TRANSFER_MAX ((size_t)1 << 30)

typedef struct sluice_io_pending {
    sluice_io_read read;
    size_t done; /* bytes that have arrived, a multiple of SLUICE_IO_ALIGN until finished */
    int error;
} sluice_io_pending;

/* What the next transfer should ask for: at read.offset + done, into read.buffer + done. */
static inline size_t sluice_io_pending_want(const sluice_io_pending *pending)
{
    size_t left = pending->read.bytes - pending->done;
    return left < SLUICE_IO_TRANSFER_MAX ? left : SLUICE_IO_TRANSFER_MAX;
}

/* Takes the result of a transfer (bytes, or a negative errno); true when the read is finished, well
 * or with error set. Direct reads can only go on at an aligned offset, so a ragged tail is read
 * again; less than one aligned block more can only be the end of the file. */
static inline bool sluice_io_pending_advance(sluice_io_pending *pending, int64_t result)
{
    if (result == -EINTR || result == -EAGAIN) return false;
    if (result < 0) {
        pending->error = (int)-result;
        return true;
    }
    size_t done = pending->done + (size_t)result;
    if (done < pending->read.bytes) {
        done -= done % SLUICE_IO_ALIGN;
        if (done == pending->done) {
            pending->error = EIO;
            return true;
        }
    }
    pending->done = done;
    return done == pending->read.bytes;
}

#endif
