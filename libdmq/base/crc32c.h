/* CRC-32C (Castagnoli), as record batches, log indexes and our own files use it. */
#ifndef DMQ_BASE_CRC32C_H
#define DMQ_BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The checksum of data behind what crc already covers; crc is 0 at the start. Uses the processor's
 * instruction where there is one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The same by table, on any processor. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

/* Whether crc32c uses the processor's instruction. */
bool crc32c_is_hardware(void);

#endif
