#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

/* What libdmq/net does with the requests of a node: each ends exactly once, by its answer, by the
 * end of its connection, or after its time. */

static void
ended(struct link *link, uint64_t tag, dmq_err err)
{
    if (link->from->kind == PROCESS_CONTROLLER) {
        controller_unanswered(link->from, link, tag, err);
    } else {
        broker_unanswered(link->from, link, tag, err);
    }
}

static bool
forget(struct link *link, uint64_t tag, dmq_err *ret_late)
{
    for (size_t i = 0; i < link->call_count; i++) {
        if (link->calls[i].tag == tag) {
            *ret_late = link->calls[i].late;
            link->calls[i] = link->calls[--link->call_count];
            return true;
        }
    }
    return false;
}

void
request_timed_out(struct link *link, uint64_t tag)
{
    dmq_err late;
    if (forget(link, tag, &late)) {
        link->from->world->counts.timeouts += late == DMQ_ERR_TIMEOUT;
        ended(link, tag, late);
    }
}

/* A step may end the process, or make new calls, which are of the next connection. */
void
requests_end(struct link *link)
{
    struct call_out calls[LINK_MAX_CALLS];
    struct process *from = link->from;
    size_t count = link->call_count;
    uint64_t life = from->life;
    memcpy(calls, link->calls, sizeof(calls));
    link->call_count = 0;
    for (size_t i = 0; i < count && from->alive && from->life == life; i++) {
        ended(link, calls[i].tag, DMQ_ERR_NETWORK);
    }
}

static struct buf **
frames_of(const struct request_out *request)
{
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = request->api_key,
                                          .correlation_id = (int64_t)request->tag,
                                          .client_id = bytes_str(request->client_id),
                                          .time_left_ms = request->timeout_ms,
                                          .metadata_version = request->metadata_version};
    struct buf **frames = malloc((request->count + 2) * sizeof(*frames));
    DMQ_ASSERT(frames != NULL);
    frames[0] = msg_encode_buf(desc_request_header(), 0, &header);
    frames[1] = buf_ref(request->body);
    for (size_t i = 0; i < request->count; i++) {
        frames[i + 2] = buf_ref(request->frames[i]);
    }
    return frames;
}

/* Not sent (not up, too many in flight): it is told after this step. */
void
request_send(struct link *link, const struct request_out *request)
{
    struct world *world = link->from->world;
    bool sent = link->up && (request->one_way || link->call_count < LINK_MAX_CALLS);
    if (request->one_way) {
        if (sent) {
            link_send(link, 0, frames_of(request), request->count + 2);
        }
        return;
    }
    DMQ_ASSERT(link->call_count < LINK_MAX_CALLS);
    int64_t timeout_us = sent ? request->timeout_ms * (int64_t)MS : 0;
    link->calls[link->call_count++] =
        (struct call_out){request->tag, sent ? DMQ_ERR_TIMEOUT : DMQ_ERR_UNREACHABLE};
    if (sent) {
        link_send(link, 0, frames_of(request), request->count + 2);
    }
    world_at(world, world->now_us + timeout_us,
             (struct world_event){.kind = WORLD_TIMEOUT,
                                  .process = link->from,
                                  .life = link->from->life,
                                  .link = link,
                                  .number = request->tag});
}

bool
request_answered(struct link *link, const struct message *message, uint64_t *ret_tag,
                 dmq_err *ret_err)
{
    struct response_header header;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, 4096);
    dmq_err failed =
        msg_decode(desc_response_header(), 0, buf_bytes(message->frames[0]), &arena, &header, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    *ret_tag = (uint64_t)header.correlation_id;
    *ret_err = header.error;
    arena_deinit(&arena);
    return forget(link, *ret_tag, &failed);
}
