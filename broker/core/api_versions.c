#include "broker/core/call.h"

void
on_api_versions(struct brk *brk, struct call *call)
{
    struct api_range *ranges = arena_alloc(&call->arena, api_table_count * sizeof(*ranges));
    DMQ_ASSERT(ranges != NULL);
    uint32_t count = 0;
    for (size_t i = 0; i < api_table_count; i++) {
        if ((api_table[i].listeners & call->listener) != 0) {
            ranges[count++] = (struct api_range){.api_key = api_table[i].key,
                                                 .min_version = api_table[i].min_version,
                                                 .max_version = api_table[i].max_version};
        }
    }
    const struct api_versions_response response = {
        .cluster_id = brk->config.cluster_id,
        .node_id = brk->config.broker_id,
        .instance_id = brk->config.incarnation,
        .software_version = bytes_str(DMQ_VERSION),
        .max_requests_in_flight = brk->config.max_connection_requests,
        .max_bytes_in_flight = brk->config.max_connection_bytes,
        .max_message_bytes = brk->config.max_connection_bytes,
        .apis = ranges,
        .apis_count = count,
        .controller_id = brk->controller_id,
    };
    call_answer(brk, call, &response, NULL, 0);
}
