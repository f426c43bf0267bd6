/* CRC32C (Castagnoli; RFC 3720, appendix B.4): the checksum of expert records. */
#ifndef SLUICE_BASE_CRC32C_H
#define SLUICE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of seed's bytes followed by these: 0 to start, the result so far to continue.
 * sluice_crc32c(0, "123456789", 9) is 0xe3069283. Any thread, any alignment. */
uint32_t sluice_crc32c(uint32_t seed, const void *data, size_t bytes);

/* The same by tables alone, whatever the processor has: the truth that tests compare with. */
uint32_t sluice_crc32c_scalar(uint32_t seed, const void *data, size_t bytes);

#endif
