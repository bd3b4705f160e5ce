/* Raft's messages from elsewhere: of another cluster, of an older term, of a version that is not
 * known, malformed. None is answered, none changes anything, all are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/core/core.h"
#include "libdmq/wire/codec.h"

static struct {
    struct ctl *ctl;
    struct uuid cluster_id;
    int replies;
} w;

static const struct uuid disk = {{1}};
static const struct uuid other_disk = {{2}};

/* Carries out what a lone controller asks for: its disk is always fast and sound. */
static void
step(struct ctl_event *event)
{
    struct ctl_effects effects = {0};
    struct ctl_event persisted = {.kind = CTL_PERSISTED, .now_ms = event->now_ms};
    bool wrote = false;
    ctl_step(w.ctl, event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        struct ctl_effect *effect = &effects.items[i];
        if (effect->kind == CTL_PERSIST) {
            wrote = true;
            persisted.u.persisted.seq = effect->u.persist->seq;
        } else if (effect->kind == CTL_CLUSTER) {
            w.cluster_id = effect->u.cluster_id;
        }
        w.replies += effect->kind == CTL_REPLY;
    }
    ctl_effects_deinit(&effects);
    if (wrote) {
        step(&persisted);
    }
}

static int
set_up(void **state)
{
    static const int32_t ids[] = {1};
    static const struct raft_saved nothing;
    const struct ctl_config config = {.controller_id = 1,
                                      .disk_id = disk,
                                      .controllers = ids,
                                      .controller_count = 1,
                                      .session_timeout_ms = 2000,
                                      .max_message_bytes = 1 << 20,
                                      .max_requests = 10,
                                      .seed = 1};
    struct ctl_event event = {.kind = CTL_STARTED, .now_ms = 1};
    (void)state;
    w.ctl = ctl_new(&config);
    w.replies = 0;
    event.u.started = &nothing;
    step(&event);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    ctl_free(w.ctl);
    return 0;
}

static struct ctl_stats
stats_now(void)
{
    struct ctl_stats stats;
    ctl_stats(w.ctl, &stats);
    return stats;
}

static void
send_frames(int16_t version, struct buf *body)
{
    struct request_header header = {
        .protocol = WIRE_PROTOCOL, .api_key = API_RAFT, .api_version = version};
    struct buf *frames[] = {msg_encode_buf(desc_request_header(), 0, &header), body};
    struct ctl_event event = {.kind = CTL_REQUEST, .now_ms = 2};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("r"));
    event.u.request.frames = frames;
    event.u.request.count = 2;
    event.u.request.peer = "test";
    step(&event);
}

/* A VOTE from a disk that is no member, for a term far ahead unless said otherwise. */
static struct raft_request
vote(void)
{
    return (struct raft_request){.cluster_id = w.cluster_id,
                                 .kind = RAFT_VOTE,
                                 .from = {.node = 2, .disk = other_disk},
                                 .to = {.node = 1, .disk = disk},
                                 .term = 100,
                                 .index = 100,
                                 .log_term = 99};
}

static void
refused(int16_t version, const struct raft_request *request)
{
    struct ctl_stats before = stats_now();
    send_frames(version, msg_encode_buf(desc_raft_request(), 0, request));
    struct ctl_stats after = stats_now();
    assert_int_equal(after.messages_refused, before.messages_refused + 1);
    assert_int_equal(after.term, before.term);
    assert_true(after.leading);
    assert_int_equal(w.replies, 0);
}

static void
another_cluster_is_refused(void **state)
{
    (void)state;
    struct raft_request request = vote();
    request.cluster_id.b[0] ^= 1;
    refused(0, &request);
}

static void
a_future_version_is_refused(void **state)
{
    (void)state;
    struct raft_request request = vote();
    refused(1, &request);
}

static void
what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct raft_request request = vote();
    request.kind = 9;
    refused(0, &request);
    request = vote();
    request.term = -1;
    refused(0, &request);
    request = vote();
    request.to.disk = other_disk; /* somebody else's */
    refused(0, &request);
    struct ctl_stats before = stats_now();
    send_frames(0, buf_copy(bytes_str("\xc1")));
    assert_int_equal(stats_now().messages_refused, before.messages_refused + 1);
    assert_int_equal(w.replies, 0);
}

static void
an_older_term_is_counted_and_changes_nothing(void **state)
{
    (void)state;
    struct raft_request request = vote();
    struct ctl_stats before = stats_now();
    request.term = 0;
    request.index = 0;
    request.log_term = 0;
    send_frames(0, msg_encode_buf(desc_raft_request(), 0, &request));
    struct ctl_stats after = stats_now();
    assert_int_equal(after.messages_stale, before.messages_stale + 1);
    assert_int_equal(after.term, before.term);
    assert_true(after.leading);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_cluster_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_future_version_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_term_is_counted_and_changes_nothing, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
