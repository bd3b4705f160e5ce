#include "broker/node/node.h"
#include "libdmq/http/health.h"
#include "libdmq/os/clock.h"

/* What a broker says of itself over HTTP: /health/live, /health/ready and /metrics. */

static const char *
not_ready(const void *daemon)
{
    const struct node *node = daemon;
    struct brk_stats stats;
    brk_stats(node->brk, &stats);
    return stats.folder_offline ? "the data folder is offline"
           : stats.stopping     ? "stopping"
           : !stats.ready       ? "not registered with the controller yet"
                                : NULL;
}

static void
metrics(const void *daemon, struct outbuf *out)
{
    const struct node *node = daemon;
    struct brk_stats stats;
    brk_stats(node->brk, &stats);
    http_metric(out, "dmq_broker_ready", "gauge", "1 if clients are served.", stats.ready);
    http_metric(out, "dmq_broker_folder_offline", "gauge", "1 if the data folder failed.",
                stats.folder_offline);
    http_metric(out, "dmq_broker_disk_full", "gauge",
                "1 if produce is refused because the disk is full.", stats.disk_full);
    http_metric(out, "dmq_broker_disk_free_bytes", "gauge",
                "Bytes free on the disk of the data folder; -1 if not known yet.", stats.disk_free);
    http_metric(out, "dmq_broker_damaged_logs", "gauge",
                "Logs that have lost records to the disk and were not fetched anew.",
                stats.damaged_logs);
    http_metric(out, "dmq_broker_quarantined_folders", "gauge",
                "Folders of damaged logs that were set aside and that nobody has removed.",
                stats.quarantined_folders);
    http_metric(out, "dmq_broker_quarantines_total", "counter",
                "Damaged logs that were set aside and fetched anew.", stats.quarantines);
    http_metric(out, "dmq_broker_metadata_version", "gauge", "Metadata version that is applied.",
                stats.metadata_version);
    http_metric(out, "dmq_broker_partitions", "gauge", "Partitions that have a replica here.",
                stats.partitions);
    http_metric(out, "dmq_broker_requests_total", "counter", "Requests received.", stats.requests);
    http_metric(out, "dmq_broker_appended_batches_total", "counter", "Record batches appended.",
                stats.batches_appended);
    http_metric(out, "dmq_broker_appended_bytes_total", "counter", "Bytes of batches appended.",
                stats.bytes_appended);
    http_metric(out, "dmq_broker_duplicate_batches_total", "counter",
                "Batches that were recognised as retries and not appended again.",
                stats.duplicates);
    http_metric(out, "dmq_broker_syncs_total", "counter", "Syncs of the data folder.", stats.syncs);
    http_metric(out, "dmq_broker_fsyncs_total", "counter",
                "Files and folders synced: a sync has one for each log that was written to.",
                lanes_fsyncs(node->lanes));
    http_metric(out, "dmq_broker_request_bytes", "gauge", "Bytes of requests without answer.",
                stats.request_bytes);
    http_metric(out, "dmq_broker_parked_requests", "gauge", "Requests without answer.",
                stats.parked_calls);
    http_metric(out, "dmq_broker_dropped_replies_total", "counter",
                "Answers whose client was gone or did not read.",
                (int64_t)(node->client_router.dropped + node->node_router.dropped));
}

static void
on_page(void *context, const struct http_request *request, struct http_response *response)
{
    const struct http_health health = {
        .daemon = context, .not_ready = not_ready, .metrics = metrics};
    http_health(&health, request, response);
}

static int
on_input(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    struct node *node = arg;
    http_process(node->http);
    return 0;
}

static int
on_timeouts(zloop_t *loop, int timer_id, void *arg)
{
    (void)timer_id;
    return on_input(loop, NULL, arg);
}

bool
http_pages_open(struct node *node, struct err_msg *err)
{
    const struct service_broker *self = node->conf->broker;
    if (self->http_port == 0) {
        return true;
    }
    if (http_start(self->listen_host, self->http_port, on_page, node, &node->http, err) != DMQ_OK) {
        return false;
    }
    zmq_pollitem_t item = {.fd = http_fd(node->http), .events = ZMQ_POLLIN};
    zloop_poller(node->loop, &item, on_input, node);
    /* Silent connections are closed to the second, not to the millisecond. */
    zloop_timer(node->loop, HTTP_TIMEOUT_S * 1000, 0, on_timeouts, node);
    return true;
}
