/* Hash tables: uthash, as the daemons use it: where memory is out, the process ends. */
#ifndef DMQ_BASE_MAP_H
#define DMQ_BASE_MAP_H

#include "libdmq/base/assert.h"

#define uthash_fatal(message) DMQ_UNREACHABLE()
#include <uthash.h>

#endif
