/* One admin operation under way: what admin.c (by JSON) and topic.c (typed) share. */
#ifndef LIBDMQ_API_ADMIN_H
#define LIBDMQ_API_ADMIN_H

#include "libdmq/api/api.h"
#include "libdmq/base/arena.h"
#include "libdmq/wire/codec.h"

struct admin_call {
    struct dmq_client *client;
    int64_t deadline_ms;
    struct arena arena;
    struct ask ask;
    struct err_msg err;
};

void admin_begin(struct admin_call *call, struct dmq_client *client, int64_t timeout_ms);

/* Fills the caller's error with what became of it. */
dmq_err admin_end(struct admin_call *call, struct dmq_error *error);

/* Asks for what must not be asked for twice by name: draws request ids, finds topic ids. request
 * and ret_response are structs of the api. */
dmq_err admin_run(struct admin_call *call, int16_t api_key, void *request, void *ret_response);

#endif
