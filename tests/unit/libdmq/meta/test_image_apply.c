/* Each record beside what it refuses, and what queries then say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/meta/image.h"
#include "tests/support/image_dump.h"

static const struct uuid TOPIC_A = {{0xaa, 1}};
static const struct uuid TOPIC_B = {{0xbb, 2}};

static struct broker_record
broker(int32_t id, int64_t epoch)
{
    return (struct broker_record){.broker_id = id, .broker_epoch = epoch, .fenced = true};
}

static struct topic_record
topic(const char *name, struct uuid id)
{
    return (struct topic_record){.name = bytes_str(name), .topic_id = id};
}

/* Partition n of topic A on brokers 1, 2 and 3, led by 1. */
static int32_t all_three[] = {1, 2, 3};
static struct partition_record
partition(int32_t n)
{
    return (struct partition_record){.topic_id = TOPIC_A,
                                     .partition = n,
                                     .replicas = all_three,
                                     .replicas_count = 3,
                                     .isr = all_three,
                                     .isr_count = 2,
                                     .elr = all_three + 2,
                                     .elr_count = 1,
                                     .leader = 1,
                                     .min_isr = 2};
}

static void
apply(struct image *image, int type, const void *body)
{
    struct err_msg err = {0};
    assert_int_equal(meta_apply_body(image, type, body, &err), DMQ_OK);
}

/* Refused, with that sentence, and nothing changed. */
static void
refuse(struct image *image, int type, const void *body, const char *sentence)
{
    struct err_msg err = {0};
    struct outbuf before = {0};
    struct outbuf after = {0};
    image_dump(image, &before);
    assert_int_equal(meta_apply_body(image, type, body, &err), DMQ_ERR_INVALID_REQUEST);
    assert_string_equal(err.text, sentence);
    image_dump(image, &after);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    outbuf_deinit(&before);
    outbuf_deinit(&after);
}

/* Brokers 1 to 3, topic a with two partitions. */
static int
setup(void **state)
{
    struct image *image = image_new();
    struct topic_record a = topic("a", TOPIC_A);
    for (int32_t id = 1; id <= 3; id++) {
        struct broker_record body = broker(id, id);
        apply(image, RECORD_BROKER, &body);
    }
    apply(image, RECORD_TOPIC, &a);
    for (int32_t n = 0; n < 2; n++) {
        struct partition_record body = partition(n);
        apply(image, RECORD_PARTITION, &body);
    }
    *state = image;
    return 0;
}

static int
teardown(void **state)
{
    image_free(*state);
    return 0;
}

static void
the_cluster_is_formed_once(void **state)
{
    struct image *image = *state;
    struct cluster_record body = {{{0}}};
    refuse(image, RECORD_CLUSTER, &body, "cluster record: the cluster id is zero");
    body.cluster_id = TOPIC_A;
    apply(image, RECORD_CLUSTER, &body);
    assert_true(uuid_equal(image_cluster_id(image), TOPIC_A));
    body.cluster_id = TOPIC_B;
    refuse(image, RECORD_CLUSTER, &body, "cluster record: the cluster was formed already");
}

static void
a_broker_registers_with_an_epoch_that_does_not_fall(void **state)
{
    struct image *image = *state;
    struct broker_record body = broker(2, 7);
    body.rack = bytes_str("r1");
    apply(image, RECORD_BROKER, &body);
    assert_int_equal(image_broker_count(image), 3);
    assert_int_equal(image_broker(image, 2)->broker_epoch, 7);
    assert_true(bytes_equal_str(image_broker(image, 2)->rack, "r1"));
    assert_null(image_broker(image, 4));
    assert_null(image_broker(image, -1));
    body = broker(2, 6);
    refuse(image, RECORD_BROKER, &body,
           "broker record: epoch 6 of broker 2 is below the present one, 7");
    body = broker(-1, 8);
    refuse(image, RECORD_BROKER, &body, "broker record: broker id -1 or epoch 8 is negative");
}

static void
a_broker_changes_under_its_present_epoch_only(void **state)
{
    struct image *image = *state;
    struct broker_change_record body = {2, 2, false, true};
    apply(image, RECORD_BROKER_CHANGE, &body);
    assert_false(image_broker(image, 2)->fenced);
    assert_true(image_broker(image, 2)->shutting_down);
    assert_true(image_broker(image, 1)->fenced);
    body.broker_epoch = 1;
    refuse(image, RECORD_BROKER_CHANGE, &body,
           "broker_change record: broker 2 with epoch 1 is not registered");
    body = (struct broker_change_record){9, 0, false, false};
    refuse(image, RECORD_BROKER_CHANGE, &body,
           "broker_change record: broker 9 with epoch 0 is not registered");
}

static void
a_topic_is_found_by_name_and_by_id(void **state)
{
    struct image *image = *state;
    struct topic_record body = topic("B", TOPIC_B);
    apply(image, RECORD_TOPIC, &body);
    const struct image_topic *found = image_topic_by_name(image, bytes_str("B"));
    assert_non_null(found);
    assert_ptr_equal(found, image_topic_by_id(image, TOPIC_B));
    assert_int_equal(found->partition_count, 0);
    assert_null(image_topic_by_name(image, bytes_str("b")));
    assert_null(image_topic_by_name(image, bytes_str("")));
    assert_null(image_topic_by_name(image, bytes_str("aa")));
    /* In order of name, bytewise. */
    assert_int_equal(image_topic_count(image), 2);
    assert_true(bytes_equal_str(image_topic_at(image, 0)->record->name, "B"));
    assert_true(bytes_equal_str(image_topic_at(image, 1)->record->name, "a"));
}

static void
a_topic_keeps_its_name_and_names_are_single(void **state)
{
    struct image *image = *state;
    struct topic_record body = topic("a", TOPIC_B);
    refuse(image, RECORD_TOPIC, &body, "topic record: another topic has the name a");
    body = topic("other", TOPIC_A);
    refuse(image, RECORD_TOPIC, &body, "topic record: the topic has another name, a");
    body = topic("a/b", TOPIC_B);
    refuse(image, RECORD_TOPIC, &body,
           "topic record: the topic name has the byte 0x2f at position 2: only a-z A-Z 0-9 . _ - "
           "are allowed");
    body = topic("c", (struct uuid){{0}});
    refuse(image, RECORD_TOPIC, &body, "topic record: the topic id is zero");
}

static void
settings_of_a_topic_come_with_defaults(void **state)
{
    struct image *image = *state;
    struct config_entry entry = {bytes_str("durability"), bytes_str("async")};
    struct topic_record body = topic("a", TOPIC_A);
    const struct image_topic *found = image_topic_by_id(image, TOPIC_A);
    assert_int_equal(found->config.durability, DURABILITY_SYNC);
    assert_int_equal(found->config.max_message_bytes, 1048588);
    body.config = &entry;
    body.config_count = 1;
    apply(image, RECORD_TOPIC, &body);
    found = image_topic_by_id(image, TOPIC_A);
    assert_int_equal(found->config.durability, DURABILITY_ASYNC);
    assert_int_equal(found->config.max_message_bytes, 1048588);
    assert_int_equal(found->partition_count, 2);
    assert_true(bytes_equal_str(found->record->config[0].value, "async"));
}

static void
the_image_owns_what_it_holds(void **state)
{
    struct image *image = *state;
    char name[] = "mine";
    struct topic_record body = topic(name, TOPIC_B);
    apply(image, RECORD_TOPIC, &body);
    memset(name, 'x', 4);
    assert_non_null(image_topic_by_name(image, bytes_str("mine")));
}

static void
a_removed_topic_takes_its_partitions_along(void **state)
{
    struct image *image = *state;
    struct topic_removed_record body = {TOPIC_B};
    refuse(image, RECORD_TOPIC_REMOVED, &body,
           "topic_removed record: topic bb020000000000000000000000000000 is unknown");
    body.topic_id = TOPIC_A;
    assert_int_equal(image_partition_total(image), 2);
    apply(image, RECORD_TOPIC_REMOVED, &body);
    assert_null(image_topic_by_name(image, bytes_str("a")));
    assert_null(image_topic_by_id(image, TOPIC_A));
    assert_null(image_partition(image, TOPIC_A, 0));
    assert_int_equal(image_partition_total(image), 0);
    /* The name is free again, for another id. */
    struct topic_record again = topic("a", TOPIC_B);
    apply(image, RECORD_TOPIC, &again);
    assert_int_equal(image_topic_by_name(image, bytes_str("a"))->partition_count, 0);
}

static void
spend(struct image *image, int64_t number, uint8_t id)
{
    struct request_spent_record body = {.number = number, .request_id = {.b = {id, 1}}};
    apply(image, RECORD_REQUEST_SPENT, &body);
}

static void
spent_requests_rise_by_one(void **state)
{
    struct image *image = *state;
    struct request_spent_record body = {.number = 1, .request_id = {.b = {7}}};
    refuse(image, RECORD_REQUEST_SPENT, &body, "request_spent record: number 1 does not follow");
    body.number = -1;
    refuse(image, RECORD_REQUEST_SPENT, &body, "request_spent record: number -1 does not follow");
    body = (struct request_spent_record){.number = 0};
    refuse(image, RECORD_REQUEST_SPENT, &body, "request_spent record: the request id is zero");
    spend(image, 0, 7);
    assert_true(image_request_spent(image, (struct uuid){.b = {7, 1}}));
    assert_false(image_request_spent(image, (struct uuid){.b = {8, 1}}));
    assert_int_equal(image_next_spent(image), 1);
}

/* The oldest gives its place to the newest, and has it again when that is undone. */
static void
the_last_spent_requests_are_remembered(void **state)
{
    struct image *image = *state;
    spend(image, 0, 7);
    for (int64_t number = 1; number < META_MAX_SPENT; number++) {
        spend(image, number, 8);
    }
    assert_true(image_request_spent(image, (struct uuid){.b = {7, 1}}));
    uint64_t digest = image_digest(image);
    meta_undo_begin(image);
    spend(image, META_MAX_SPENT, 9);
    assert_int_equal(image_spent_count(image), META_MAX_SPENT);
    assert_false(image_request_spent(image, (struct uuid){.b = {7, 1}}));
    assert_true(image_request_spent(image, (struct uuid){.b = {9, 1}}));
    meta_undo_rollback(image);
    assert_true(image_request_spent(image, (struct uuid){.b = {7, 1}}));
    assert_false(image_request_spent(image, (struct uuid){.b = {9, 1}}));
    assert_true(image_digest(image) == digest);
    assert_int_equal(image_next_spent(image), META_MAX_SPENT);
}

static void
a_partition_rises_by_its_epochs(void **state)
{
    struct image *image = *state;
    struct partition_record body = partition(1);
    body.partition_epoch = 1;
    body.leader_epoch = 1;
    body.leader = 2;
    apply(image, RECORD_PARTITION, &body);
    assert_int_equal(image_partition(image, TOPIC_A, 1)->leader, 2);
    assert_int_equal(image_partition(image, TOPIC_A, 0)->leader, 1);
    assert_null(image_partition(image, TOPIC_A, 2));
    assert_null(image_partition(image, TOPIC_A, -1));
    assert_int_equal(image_partition_total(image), 2);
    refuse(image, RECORD_PARTITION, &body,
           "partition record: aa010000000000000000000000000000/1: its partition epoch is not above "
           "the present one");
    body.partition_epoch = 2;
    body.leader_epoch = 0;
    refuse(image, RECORD_PARTITION, &body,
           "partition record: aa010000000000000000000000000000/1: its leader epoch is below the "
           "present one");
}

struct bad_partition {
    struct partition_record body;
    const char *why;
};

static void
a_partition_that_does_not_fit_is_refused(void **state)
{
    struct image *image = *state;
    int32_t twice[] = {1, 1};
    int32_t stranger[] = {1, 9};
    int32_t foreign[] = {4};
    struct bad_partition bad[12];
    for (size_t i = 0; i < 12; i++) {
        bad[i].body = partition(2);
    }
    size_t n = 0;
#define BAD(reason, ...)                                                                           \
    do {                                                                                           \
        struct partition_record *p = &bad[n].body;                                                 \
        __VA_ARGS__;                                                                               \
        bad[n++].why = reason;                                                                     \
    } while (0)
    BAD("3: it does not follow the partitions that the topic has", p->partition = 3);
    BAD("-1: it does not follow the partitions that the topic has", p->partition = -1);
    BAD("2: it must have 1 to 64 replicas", p->replicas_count = 0);
    BAD("2: a replica stands twice", p->replicas = twice; p->replicas_count = 2);
    BAD("2: a replica is on a broker that is not registered", p->replicas = stranger;
        p->replicas_count = 2);
    BAD("2: a member of the ISR stands twice or is not a replica", p->isr = twice);
    BAD("2: a member of the ISR stands twice or is not a replica", p->isr = foreign;
        p->isr_count = 1);
    BAD("2: a member of the ELR stands twice, or in the ISR, or is not a replica",
        p->elr = all_three);
    BAD("2: the leader is not in the ISR", p->leader = 3);
    BAD("2: an epoch is negative", p->leader_epoch = -1);
    BAD("2: its durability is neither sync nor async", p->durability = 2);
    BAD("2: its min ISR is not from 1 to 64", p->min_isr = 0);
    assert_int_equal(n, 12);
#undef BAD
    for (size_t i = 0; i < n; i++) {
        char sentence[200];
        snprintf(sentence, sizeof(sentence),
                 "partition record: aa010000000000000000000000000000/%s", bad[i].why);
        refuse(image, RECORD_PARTITION, &bad[i].body, sentence);
    }
    struct partition_record unknown = partition(0);
    unknown.topic_id = TOPIC_B;
    refuse(image, RECORD_PARTITION, &unknown,
           "partition record: bb020000000000000000000000000000/0: its topic is unknown");
    struct partition_record good = partition(2);
    apply(image, RECORD_PARTITION, &good);
}

static void
producer_ids_never_fall(void **state)
{
    struct image *image = *state;
    struct producer_ids_record body = {1, 1, 1000};
    apply(image, RECORD_PRODUCER_IDS, &body);
    assert_int_equal(image_next_producer_id(image), 1000);
    body.next_producer_id = 999;
    refuse(image, RECORD_PRODUCER_IDS, &body,
           "producer_ids record: the next id 999 is not from 1000 to 2^62");
    body.next_producer_id = META_PRODUCER_ID_END + 1;
    refuse(image, RECORD_PRODUCER_IDS, &body,
           "producer_ids record: the next id 4611686018427387905 is not from 1000 to 2^62");
    body = (struct producer_ids_record){1, 0, 2000};
    refuse(image, RECORD_PRODUCER_IDS, &body,
           "producer_ids record: broker 1 with epoch 0 is not registered");
}

static void
an_image_record_is_not_for_the_log(void **state)
{
    struct image *image = *state;
    struct image_record body = {1, 1, 1};
    refuse(image, RECORD_IMAGE, &body, "image record: it is only a row of a store");
}

static void
the_digest_tells_version_and_term(void **state)
{
    struct image *image = *state;
    uint64_t before = image_digest(image);
    meta_advance(image, 1, 1);
    uint64_t after = image_digest(image);
    assert_int_equal(image_version(image), 1);
    assert_true(before != after);
    meta_advance(image, 2, 1);
    assert_true(after != image_digest(image));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_cluster_is_formed_once),
        TEST(a_broker_registers_with_an_epoch_that_does_not_fall),
        TEST(a_broker_changes_under_its_present_epoch_only),
        TEST(a_topic_is_found_by_name_and_by_id),
        TEST(a_topic_keeps_its_name_and_names_are_single),
        TEST(settings_of_a_topic_come_with_defaults),
        TEST(the_image_owns_what_it_holds),
        TEST(a_removed_topic_takes_its_partitions_along),
        TEST(spent_requests_rise_by_one),
        TEST(the_last_spent_requests_are_remembered),
        TEST(a_partition_rises_by_its_epochs),
        TEST(a_partition_that_does_not_fit_is_refused),
        TEST(producer_ids_never_fall),
        TEST(an_image_record_is_not_for_the_log),
        TEST(the_digest_tells_version_and_term),
    };
#undef TEST
    return cmocka_run_group_tests_name("image_apply", tests, NULL, NULL);
}
