/* DESCRIBE_CLUSTER: nodes, their pairing, and partitions that ail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct arena arena;
static struct describe_cluster_response cluster;

static int
setup(void **state)
{
    (void)state;
    sim_broker_init(&sim, 1);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    arena_init(&arena, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    sim_broker_deinit(&sim);
    return 0;
}

static void
describe(void)
{
    const struct describe_cluster_request request = {.dialled_port = 0};
    assert_int_equal(sim_ask(&sim, API_DESCRIBE_CLUSTER, &request, &arena, &cluster), DMQ_OK);
}

/* ---- what the test's own controller commits -------------------------------------------------- */

#define MOST_RECORDS 16

static struct outbuf encoded;
static size_t ends[MOST_RECORDS];
static uint32_t count;

static void
record(int type, const void *body)
{
    assert_true(count < MOST_RECORDS);
    record_encode(type, body, &encoded);
    ends[count++] = encoded.size;
}

static void
commit(void)
{
    struct bytes records[MOST_RECORDS];
    struct brk_stats stats;
    brk_stats(sim.brk, &stats);
    for (uint32_t i = 0; i < count; i++) {
        size_t from = i == 0 ? 0 : ends[i - 1];
        records[i] = bytes_of(encoded.data + from, ends[i] - from);
    }
    struct metadata_entry entry = {.version = stats.metadata_version + 1,
                                   .term = 1,
                                   .records = records,
                                   .records_count = count};
    const struct push_metadata_request push = {.cluster_id = sim.ctl->cluster_id,
                                               .controller_id = 1,
                                               .leader_term = 1,
                                               .prev_version = stats.metadata_version,
                                               .version = stats.metadata_version + 1,
                                               .entries = &entry,
                                               .entries_count = 1};
    sim_broker_node_request(&sim, API_PUSH_METADATA, &push);
    assert_true(sim_broker_run(&sim));
    outbuf_deinit(&encoded);
    count = 0;
}

static void
partition(struct uuid topic, int32_t number, int32_t leader, uint32_t in_sync, int32_t min_isr)
{
    int32_t replicas[] = {SIM_BROKER_ID, 102};
    const struct partition_record p = {.topic_id = topic,
                                       .partition = number,
                                       .replicas = replicas,
                                       .replicas_count = 2,
                                       .isr = replicas,
                                       .isr_count = in_sync,
                                       .leader = leader,
                                       .min_isr = min_isr};
    record(RECORD_PARTITION, &p);
}

/* A second broker that is fenced, and a topic that it lacks in. */
static void
second_broker_and_topic(void)
{
    struct endpoint endpoint = {
        .listener = bytes_str("client"), .host = bytes_str("other"), .port = 9502};
    const struct broker_record other = {.broker_id = 102,
                                        .broker_epoch = 50,
                                        .fenced = true,
                                        .rack = bytes_str("r2"),
                                        .endpoints = &endpoint,
                                        .endpoints_count = 1};
    const struct topic_record topic = {.name = bytes_str("orders"), .topic_id = {.b = {0x77}}};
    record(RECORD_BROKER, &other);
    record(RECORD_TOPIC, &topic);
    partition(topic.topic_id, 0, SIM_BROKER_ID, 2, 2); /* well */
    partition(topic.topic_id, 1, SIM_BROKER_ID, 1, 1); /* under-replicated */
    partition(topic.topic_id, 2, SIM_BROKER_ID, 1, 2); /* and refuses acks=all */
    partition(topic.topic_id, 3, -1, 0, 1);            /* nobody leads */
    commit();
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
a_healthy_cluster_has_no_ailing_partition(void **state)
{
    (void)state;
    sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "orders", 2, NULL, 0);
    assert_true(sim_broker_run(&sim));
    describe();
    assert_true(uuid_equal(cluster.cluster_id, sim.ctl->cluster_id));
    assert_true(bytes_equal_str(cluster.cluster_name, "sim"));
    assert_int_equal(cluster.leader, 1);
    assert_int_equal(cluster.answered_by, SIM_BROKER_ID);
    assert_int_equal(cluster.topic_count, 1);
    assert_int_equal(cluster.partition_count, 2);
    assert_int_equal(cluster.leaderless_count + cluster.below_min_isr_count, 0);
    assert_int_equal(cluster.under_replicated_count, 0);
    assert_int_equal(cluster.ailing_count, 0);
}

static void
nodes_are_told_with_their_pairing(void **state)
{
    (void)state;
    second_broker_and_topic();
    describe();
    assert_int_equal(cluster.brokers_count, 3);
    const struct cluster_broker *self = &cluster.brokers[0];
    const struct cluster_broker *fenced = &cluster.brokers[1];
    const struct cluster_broker *absent = &cluster.brokers[2];
    assert_int_equal(self->id, SIM_BROKER_ID);
    assert_true(self->registered && !self->fenced);
    assert_int_equal(self->controller, 1);
    assert_int_equal(self->replicas, 4);
    assert_int_equal(self->leaders, 3);
    assert_int_equal(fenced->id, 102);
    assert_true(fenced->registered && fenced->fenced);
    assert_true(bytes_equal_str(fenced->host, "other") && fenced->port == 9502);
    assert_true(bytes_equal_str(fenced->rack, "r2"));
    assert_int_equal(fenced->controller, -1); /* services.json has no 102 */
    assert_int_equal(absent->id, 103);
    assert_false(absent->registered);
    assert_true(bytes_equal_str(absent->rack, "r3"));
    assert_int_equal(cluster.controllers_count, 1);
    assert_true(cluster.controllers[0].leader);
    assert_int_equal(cluster.controllers[0].brokers_count, 2);
    assert_int_equal(cluster.controllers[0].brokers[0], 103);
}

static void
ailing_partitions_come_worst_first(void **state)
{
    (void)state;
    second_broker_and_topic();
    describe();
    assert_int_equal(cluster.partition_count, 4);
    assert_int_equal(cluster.leaderless_count, 1);
    assert_int_equal(cluster.below_min_isr_count, 1);
    assert_int_equal(cluster.under_replicated_count, 3);
    assert_int_equal(cluster.ailing_count, 3);
    assert_int_equal(cluster.ailing[0].partition, 3);
    assert_int_equal(cluster.ailing[1].partition, 2);
    assert_int_equal(cluster.ailing[1].min_isr, 2);
    assert_int_equal(cluster.ailing[2].partition, 1);
    assert_true(bytes_equal_str(cluster.ailing[2].topic_name, "orders"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_healthy_cluster_has_no_ailing_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(nodes_are_told_with_their_pairing, setup, teardown),
        cmocka_unit_test_setup_teardown(ailing_partitions_come_worst_first, setup, teardown),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
