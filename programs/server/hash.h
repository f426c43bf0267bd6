/* FNV-1a, 64 bits: names of files, checks of small ones. Not against adversaries: whatever is found
 * by a hash is compared in full. http://www.isthe.com/chongo/tech/comp/fnv/ */
#ifndef SLUICE_PROGRAMS_SERVER_HASH_H
#define SLUICE_PROGRAMS_SERVER_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SERVER_HASH_START 14695981039346656037u

static inline uint64_t server_hash(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * 1099511628211u;
    return hash;
}

#endif
