#include <inttypes.h>

#include "controller/core/call.h"

#define STRANGER_AGAIN_MS 60000

/* A broker whose data are of another cluster sees that by our answer, and goes away. Whoever looks
 * here for what is missing is told as well; other controllers are, by both of them (form.c). */
static void
notice_stranger(struct ctl *ctl, const struct call *call)
{
    const struct api_versions_request *request = call->request;
    char theirs[UUID_TEXT_SIZE], ours[UUID_TEXT_SIZE];
    bool stranger = !uuid_is_zero(request->cluster_id) && !uuid_is_zero(ctl->cluster_id) &&
                    !uuid_equal(request->cluster_id, ctl->cluster_id);
    if (!stranger || bytes_equal_str(call->header.client_id, "controller")) {
        return;
    }
    ctl->stats.messages_refused++;
    bool said = uuid_equal(ctl->stranger, request->cluster_id) &&
                ctl->now_ms - ctl->stranger_ms < STRANGER_AGAIN_MS;
    if (!said) {
        ctl->stranger = request->cluster_id;
        ctl->stranger_ms = ctl->now_ms;
        ctl_log(ctl, true,
                "refused broker=%" PRId32
                " error=%s text=\"it has data of cluster %s, this is cluster "
                "%s: check --services and --data of both\"",
                request->node_id, err_name(DMQ_ERR_INCONSISTENT_CLUSTER_ID),
                uuid_text(request->cluster_id, theirs), uuid_text(ctl->cluster_id, ours));
    }
}

dmq_err
ctl_on_api_versions(struct ctl *ctl, struct call *call)
{
    struct api_range *ranges = arena_alloc(&call->arena, api_table_count * sizeof(*ranges));
    uint32_t count = 0;
    DMQ_ASSERT(ranges != NULL);
    notice_stranger(ctl, call);
    for (size_t i = 0; i < api_table_count; i++) {
        if ((api_table[i].listeners & LISTENER_CONTROLLER) != 0) {
            ranges[count++] = (struct api_range){.api_key = api_table[i].key,
                                                 .min_version = api_table[i].min_version,
                                                 .max_version = api_table[i].max_version};
        }
    }
    struct api_versions_response response = {
        .cluster_id = ctl->cluster_id,
        .node_id = ctl->config.controller_id,
        .instance_id = ctl->config.instance_id,
        .software_version = bytes_str(DMQ_VERSION),
        .max_requests_in_flight = ctl->config.max_requests,
        .max_bytes_in_flight = ctl->config.max_message_bytes,
        .max_message_bytes = ctl->config.max_message_bytes,
        .apis = ranges,
        .apis_count = count,
        .controller_id = quorum_leader(ctl),
    };
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
