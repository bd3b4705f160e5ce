#include "controller/core/call.h"

dmq_err
ctl_on_api_versions(struct ctl *ctl, struct call *call)
{
    struct api_range *ranges = arena_alloc(&call->arena, api_table_count * sizeof(*ranges));
    uint32_t count = 0;
    DMQ_ASSERT(ranges != NULL);
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
