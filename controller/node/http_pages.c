#include "controller/node/node.h"
#include "libdmq/http/health.h"

/* What a controller says of itself over HTTP: /health/live, /health/ready and /metrics. */

static const char *
not_ready(const void *daemon)
{
    const struct node *node = daemon;
    struct ctl_stats stats;
    ctl_stats(node->ctl, &stats);
    return stats.ready    ? NULL
           : stats.failed ? "the store failed"
                          : "no controller leads at the moment";
}

static void
metrics(const void *daemon, struct outbuf *out)
{
    const struct node *node = daemon;
    struct ctl_stats stats;
    ctl_stats(node->ctl, &stats);
    http_metric(out, "dmq_controller_ready", "gauge", "1 if it knows a leading controller.",
                stats.ready);
    http_metric(out, "dmq_controller_metadata_version", "gauge", "Metadata version committed.",
                stats.version);
    http_metric(out, "dmq_controller_term", "gauge", "Term of the leading controller.", stats.term);
    http_metric(out, "dmq_controller_leading", "gauge", "1 if this controller leads.",
                stats.leading);
    http_metric(out, "dmq_controller_voter", "gauge", "1 if it has a vote.", stats.voter);
    http_metric(out, "dmq_controller_elections_total", "counter",
                "Elections that this process stood for.", stats.elections);
    http_metric(out, "dmq_controller_snapshots_total", "counter",
                "Snapshots taken or installed by this process.", stats.snapshots);
    http_metric(out, "dmq_controller_refused_messages_total", "counter",
                "Messages of other clusters or without sense.", stats.messages_refused);
    http_metric(out, "dmq_controller_stale_messages_total", "counter",
                "Messages of controllers in an older term.", stats.messages_stale);
    http_metric(out, "dmq_controller_brokers", "gauge", "Brokers registered.", stats.brokers);
    http_metric(out, "dmq_controller_brokers_fenced", "gauge", "Brokers that do not serve.",
                stats.brokers_fenced);
    http_metric(out, "dmq_controller_silent_brokers_total", "counter",
                "Brokers that this process fenced because it had not heard of them.",
                stats.fenced_silent);
    http_metric(out, "dmq_controller_gone_brokers_total", "counter",
                "Brokers that this process fenced because their port was closed.",
                stats.fenced_gone);
    http_metric(out, "dmq_controller_topics", "gauge", "Topics.", stats.topics);
    http_metric(out, "dmq_controller_partitions", "gauge", "Partitions.", stats.partitions);
    http_metric(out, "dmq_controller_leaderless_partitions", "gauge",
                "Partitions without a leader.", stats.leaderless);
    http_metric(out, "dmq_controller_requests_total", "counter", "Requests received.",
                stats.requests);
    http_metric(out, "dmq_controller_failed_requests_total", "counter",
                "Requests answered with an error.", stats.requests_failed);
    http_metric(out, "dmq_controller_waiting_requests", "gauge",
                "Requests that wait for their turn.", stats.waiting);
    http_metric(out, "dmq_controller_committed_entries_total", "counter",
                "Entries committed by this process.", stats.entries);
    http_metric(out, "dmq_controller_pushes_total", "counter", "Pushes of metadata to brokers.",
                stats.pushes);
    http_metric(out, "dmq_controller_failed_pushes_total", "counter", "Pushes without success.",
                stats.pushes_failed);
    http_metric(out, "dmq_controller_restored_leaders_total", "counter",
                "Leaderships that this process gave back to the replica that is preferred.",
                stats.leaders_restored);
    http_metric(out, "dmq_controller_unclean_elections_total", "counter",
                "Leaders that were not in sync, elected by command.", stats.unclean_elections);
    http_metric(out, "dmq_controller_dropped_replies_total", "counter",
                "Answers whose asker was gone or did not read.", (int64_t)node->router.dropped);
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
    return node_settle(node);
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
    const struct service_controller *self = node->conf->controller;
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
