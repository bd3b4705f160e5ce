#include "broker/core/call.h"
#include "broker/core/partition.h"

/* The switches over calls: each arm is one line, so that this page is the table of what a broker
 * does. */

/* The one place where a request is let through. A listener serves only the calls that the message
 * table names for it (call.c); access control lists will be consulted here, by the table's
 * operation and resource. */
static bool
authorised(const struct call *call)
{
    return call->api->operation != OP_NODE || call->listener != LISTENER_CLIENT;
}

void
call_dispatch(struct brk *brk, struct call *call)
{
    if (!authorised(call)) {
        call_fail(brk, call, DMQ_ERR_CLUSTER_DENIED, "%s is for nodes of the cluster",
                  call->api->name);
        return;
    }
    switch (call->api->key) {
    case API_API_VERSIONS:
        on_api_versions(brk, call);
        break;
    case API_METADATA:
        on_metadata(brk, call);
        break;
    case API_DESCRIBE_CLUSTER:
        on_describe_cluster(brk, call);
        break;
    case API_DESCRIBE_CONFIG:
        on_describe_config(brk, call);
        break;
    case API_PRODUCE:
        on_produce(brk, call);
        break;
    case API_FETCH:
        on_fetch(brk, call);
        break;
    case API_LIST_OFFSETS:
        on_list_offsets(brk, call);
        break;
    case API_INIT_PRODUCER_ID:
        on_init_producer_id(brk, call);
        break;
    case API_CREATE_TOPIC:
    case API_DELETE_TOPIC:
    case API_ALTER_TOPIC:
    case API_CREATE_PARTITIONS:
    case API_ELECT_LEADERS:
    case API_DESCRIBE_TOPICS:
    case API_DESCRIBE_QUORUM:
    case API_TRANSFER_LEADER:
    case API_ADD_CONTROLLER:
    case API_REMOVE_CONTROLLER:
        on_forward(brk, call);
        break;
    case API_REPLICA_PROGRESS:
        on_replica_progress(brk, call);
        break;
    case API_PUSH_METADATA:
        on_push_metadata(brk, call);
        break;
    default:
        DMQ_UNREACHABLE(); /* call.c refused it */
    }
}

void
call_on_watch(struct brk *brk, struct call *call, uint32_t index, dmq_err err)
{
    switch (call->api->key) {
    case API_PRODUCE:
        produce_on_watch(brk, call, index, err);
        break;
    case API_FETCH:
        fetch_on_watch(brk, call);
        break;
    default:
        DMQ_UNREACHABLE(); /* no other call watches a partition */
    }
}

void
call_on_disk(struct brk *brk, struct call *call, uint32_t index, struct disk_done *done)
{
    switch (call->api->key) {
    case API_FETCH:
        fetch_on_disk(brk, call, index, done);
        break;
    case API_LIST_OFFSETS:
        list_offsets_on_disk(brk, call, index, done);
        break;
    default:
        DMQ_UNREACHABLE();
    }
}

void
call_on_deadline(struct brk *brk, struct call *call)
{
    if (list_linked(&call->stalled_link) && call->stall_until_ms != 0 &&
        call->stall_until_ms <= brk->now_ms) {
        list_remove(&call->stalled_link);
        call_dispatch(brk, call); /* it answers from what is known */
        return;
    }
    if (call->forward != NULL) {
        forward_on_deadline(brk, call);
        return;
    }
    switch (call->api->key) {
    case API_PRODUCE:
        produce_on_deadline(brk, call);
        break;
    case API_FETCH:
        fetch_on_deadline(brk, call);
        break;
    case API_INIT_PRODUCER_ID:
        producer_ids_on_deadline(brk, call);
        break;
    default:
        call_fail(brk, call, DMQ_ERR_REQUEST_TIMED_OUT, "%s was not answered within the time given",
                  call->api->name);
    }
}
