/* Leaderships that go back to the preferred replicas by themselves: so many at a time, the next of
 * them soon, and nothing while there is nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/core/core.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"

#define INTERVAL_MS 60000
#define SOON_MS 1000
#define A_ROUND 100
#define PARTITIONS 500 /* half of them prefer broker 1 */

static struct {
    struct ctl *ctl;
    int64_t now_ms;
} w;

/* Carries out what a lone controller asks for: its disk is always fast and sound. */
static void
step(struct ctl_event *event)
{
    struct ctl_effects effects = {0};
    struct ctl_event persisted = {.kind = CTL_PERSISTED};
    bool wrote = false;
    event->now_ms = w.now_ms;
    ctl_step(w.ctl, event, &effects);
    for (size_t i = 0; i < effects.count; i++) {
        if (effects.items[i].kind == CTL_PERSIST) {
            wrote = true;
            persisted.u.persisted.seq = effects.items[i].u.persist->seq;
        }
    }
    ctl_effects_deinit(&effects);
    if (wrote) {
        step(&persisted);
    }
}

static struct buf *
header(int16_t api_key)
{
    const struct request_header header = {
        .protocol = WIRE_PROTOCOL, .api_key = api_key, .time_left_ms = 5000};
    return msg_encode_buf(desc_request_header(), 0, &header);
}

static void
ask(int16_t api_key, const void *body)
{
    const struct envelope_request envelope = {.principal = bytes_str("anonymous")};
    struct buf *frames[4];
    struct ctl_event event = {.kind = CTL_REQUEST};
    size_t count = 0;
    if ((api_find(api_key)->listeners & LISTENER_CONTROLLER) == 0) {
        frames[count++] = header(API_ENVELOPE);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
    }
    frames[count++] = header(api_key);
    frames[count++] = msg_encode_buf(api_find(api_key)->request(), 0, body);
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("r"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "test";
    step(&event);
}

/* ---- a cluster ------------------------------------------------------------------------------- */

static int64_t
epoch_of(int32_t broker_id)
{
    const struct broker_record *broker = image_broker(ctl_image(w.ctl), broker_id);
    return broker == NULL ? -1 : broker->broker_epoch;
}

static void
bring_up(int32_t broker_id, uint8_t incarnation)
{
    struct folder_state folder = {.disk_id = {{(uint8_t)broker_id}}};
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("b"), .port = 9000 + broker_id},
        {.listener = bytes_str("node"), .host = bytes_str("b"), .port = 10000 + broker_id}};
    const struct register_broker_request request = {.broker_id = broker_id,
                                                    .incarnation = {{incarnation}},
                                                    .replaces = epoch_of(broker_id),
                                                    .endpoints = endpoints,
                                                    .endpoints_count = 2,
                                                    .folders = &folder,
                                                    .folders_count = 1};
    ask(API_REGISTER_BROKER, &request);
    const struct broker_heartbeat_request beat = {
        .status = {.broker_id = broker_id,
                   .broker_epoch = epoch_of(broker_id),
                   .incarnation = {{incarnation}},
                   .applied_version = ctl_version(w.ctl)}};
    ask(API_BROKER_HEARTBEAT, &beat);
    assert_false(image_broker(ctl_image(w.ctl), broker_id)->fenced);
}

static const struct image_topic *
topic(void)
{
    return image_topic_at(ctl_image(w.ctl), 0);
}

/* Leaders ask their followers in. */
static void
fill_isrs(void)
{
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        const struct partition_record *p = topic()->partitions[i];
        struct isr_member members[] = {{1, epoch_of(1)}, {2, epoch_of(2)}};
        const struct alter_partition_request request = {.broker_id = p->leader,
                                                        .broker_epoch = epoch_of(p->leader),
                                                        .topic_id = p->topic_id,
                                                        .partition = p->partition,
                                                        .leader_epoch = p->leader_epoch,
                                                        .partition_epoch = p->partition_epoch,
                                                        .isr = members,
                                                        .isr_count = 2};
        ask(API_ALTER_PARTITION, &request);
    }
}

static uint32_t
led_by(int32_t broker_id)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        count += topic()->partitions[i]->leader == broker_id;
    }
    return count;
}

/* Broker 1 was away: broker 2 leads all. */
static void
begin(int64_t rebalance_ms)
{
    static const int32_t ids[] = {1};
    static const struct raft_saved nothing;
    const struct ctl_config config = {.controller_id = 1,
                                      .disk_id = {{1}},
                                      .controllers = ids,
                                      .controller_count = 1,
                                      .session_timeout_ms = 100 * INTERVAL_MS,
                                      .rebalance_ms = rebalance_ms,
                                      .max_message_bytes = 1 << 20,
                                      .max_requests = 10,
                                      .seed = 1};
    struct ctl_event event = {.kind = CTL_STARTED};
    w.ctl = ctl_new(&config);
    w.now_ms = 1;
    event.u.started = &nothing;
    step(&event);
    bring_up(1, 1);
    bring_up(2, 1);
    const struct create_topic_request create = {
        .topic_name = bytes_str("t"), .partition_count = PARTITIONS, .replication_factor = 2};
    ask(API_CREATE_TOPIC, &create);
    assert_int_equal(led_by(1), PARTITIONS / 2);
    struct ctl_event gone = {.kind = CTL_PEER_GONE};
    gone.u.gone.broker_id = 1;
    gone.u.gone.incarnation = image_broker(ctl_image(w.ctl), 1)->incarnation;
    step(&gone);
    assert_int_equal(led_by(2), PARTITIONS);
    bring_up(1, 2);
}

static int
tear_down(void **state)
{
    (void)state;
    ctl_free(w.ctl);
    return 0;
}

/* As for the shell: a TICK whenever one is due. */
static void
pass(int64_t ms)
{
    int64_t until = w.now_ms + ms;
    while (ctl_deadline(w.ctl) <= until) {
        w.now_ms = ctl_deadline(w.ctl) > w.now_ms ? ctl_deadline(w.ctl) : w.now_ms;
        step(&(struct ctl_event){.kind = CTL_TICK});
        assert_true(ctl_deadline(w.ctl) > w.now_ms); /* it is not due for ever */
    }
    w.now_ms = until;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void
few_go_back_at_a_time(void **state)
{
    (void)state;
    begin(INTERVAL_MS);
    fill_isrs();
    pass(INTERVAL_MS - 1);
    assert_int_equal(led_by(1), 0);
    pass(1);
    assert_int_equal(led_by(1), A_ROUND);
    pass(SOON_MS - 1);
    assert_int_equal(led_by(1), A_ROUND);
    pass(1);
    assert_int_equal(led_by(1), 2 * A_ROUND);
    pass(SOON_MS);
    assert_int_equal(led_by(1), PARTITIONS / 2);
    int64_t version = ctl_version(w.ctl);
    pass(3 * INTERVAL_MS);
    assert_int_equal(ctl_version(w.ctl), version);
}

static void
who_is_not_in_sync_gets_nothing_back(void **state)
{
    (void)state;
    begin(INTERVAL_MS);
    pass(3 * INTERVAL_MS);
    assert_int_equal(led_by(1), 0);
    fill_isrs();
    pass(INTERVAL_MS);
    assert_int_equal(led_by(1), A_ROUND);
}

static void
nothing_goes_back_where_that_is_off(void **state)
{
    (void)state;
    begin(0);
    fill_isrs();
    pass(10 * INTERVAL_MS);
    assert_int_equal(led_by(1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(few_go_back_at_a_time, tear_down),
        cmocka_unit_test_teardown(who_is_not_in_sync_gets_nothing_back, tear_down),
        cmocka_unit_test_teardown(nothing_goes_back_where_that_is_off, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
