/* The only place where an answer is made. It rests on what is committed: whoever calls this has
 * waited for the entry, or has read nothing that is not in one. */
#include <stdlib.h>

#include "controller/core/call.h"

static struct buf *
encode_header(const struct ctl *ctl, const struct request_header *request, dmq_err err,
              const char *text)
{
    struct response_header header = {.correlation_id = request->correlation_id,
                                     .error = err,
                                     .metadata_version = ctl->version,
                                     .message = bytes_str(err == DMQ_OK ? "" : text)};
    struct buf *frame = msg_encode_buf(desc_response_header(), 0, &header);
    DMQ_ASSERT(frame != NULL);
    return frame;
}

static struct buf *
encode_envelope(const struct ctl *ctl)
{
    struct envelope_response response = {.controller_id = ctl->config.controller_id};
    struct buf *frame = msg_encode_buf(desc_envelope_response(), 0, &response);
    DMQ_ASSERT(frame != NULL);
    return frame;
}

void
ctl_call_finish(struct ctl *ctl, struct call *call)
{
    DMQ_ASSERT((call->err.code == DMQ_OK) == (call->body != NULL));
    struct buf **frames = ctl_alloc(4 * sizeof(struct buf *));
    size_t count = 0;
    if (call->enveloped) {
        frames[count++] = encode_header(ctl, &call->outer, DMQ_OK, "");
        frames[count++] = encode_envelope(ctl);
    }
    frames[count++] = encode_header(ctl, &call->header, call->err.code, call->err.text);
    if (call->body != NULL) {
        frames[count++] = buf_ref(call->body);
    }
    struct ctl_effect *effect = ctl_emit(ctl, CTL_REPLY);
    effect->u.reply.to = buf_ref(call->from);
    effect->u.reply.frames = frames;
    effect->u.reply.count = count;
    ctl->stats.requests_failed += call->err.code != DMQ_OK;
    ctl_call_free(call);
}

void
ctl_call_set_body(struct call *call, const void *response)
{
    DMQ_ASSERT(call->body == NULL);
    call->body = msg_encode_buf(call->api->response(), call->header.api_version, response);
    DMQ_ASSERT(call->body != NULL);
}
