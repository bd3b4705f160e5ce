/* Lists of utlist, for structs that are in several. Its own check that an element is in a list is
 * ours, on in release. */
#ifndef DMQ_BASE_DLIST_H
#define DMQ_BASE_DLIST_H

#include <utlist.h>

#include "libdmq/base/assert.h"

#undef assert
#define assert DMQ_ASSERT

#endif
