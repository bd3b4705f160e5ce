/* Deep copies of structs of the one table, to keep what was decoded beyond its frame and arena. */
#ifndef DMQ_WIRE_CLONE_H
#define DMQ_WIRE_CLONE_H

#include "libdmq/wire/messages.h"

/* One block of memory with the struct at its beginning and all that it refers to behind it: free()
 * frees all. NULL if memory is out. */
void *msg_clone(const struct struct_desc *desc, const void *msg);

#endif
