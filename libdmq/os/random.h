/* Random bytes of the operating system: identities, and seeds for rng.h. */
#ifndef DMQ_OS_RANDOM_H
#define DMQ_OS_RANDOM_H

#include "libdmq/base/bytes.h"

uint64_t random_u64(void);

/* A version 4 UUID. */
struct uuid random_uuid(void);

#endif
