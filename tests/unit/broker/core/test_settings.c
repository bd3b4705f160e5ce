/* Settings of a topic that change take effect on what runs; DESCRIBE_CONFIG tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/sim_client.h"

static struct sim_broker sim;
static struct arena arena;

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

static struct uuid
create(const char *name, const char *setting, const char *value)
{
    const struct config_entry config = {bytes_str(setting), bytes_str(value)};
    struct uuid id = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, name, 1, &config,
                                                 setting[0] == '\0' ? 0 : 1);
    assert_true(sim_broker_run(&sim));
    return id;
}

static void
alter(struct uuid topic, const char *setting, const char *value, bool new_epoch)
{
    const struct config_entry config = {bytes_str(setting), bytes_str(value)};
    sim_controller_alter_topic(sim.ctl, topic, &config, setting[0] == '\0' ? 0 : 1, new_epoch);
    assert_true(sim_broker_run(&sim));
}

static dmq_err
produce(struct uuid topic, int count)
{
    const struct sim_batch batch = {.count = count, .value = "a value of some thirty bytes..."};
    return sim_produce(&sim, topic, 0, -1, &batch).err;
}

static void
a_segment_size_takes_effect_on_a_running_log(void **state)
{
    (void)state;
    struct uuid topic = create("orders", "", "");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(produce(topic, 100), DMQ_OK);
    }
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 1);
    alter(topic, "segment.bytes", "4096", false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(produce(topic, 100), DMQ_OK);
    }
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 4);
    alter(topic, "", "", false); /* the broker's own again */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(produce(topic, 100), DMQ_OK);
    }
    assert_int_equal(sim_broker_segments(&sim, topic, 0), 4);
    struct sim_fetched all = sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1});
    assert_int_equal(all.high_watermark, 900);
}

static void
a_batch_limit_takes_effect(void **state)
{
    (void)state;
    struct uuid topic = create("orders", "", "");
    assert_int_equal(produce(topic, 100), DMQ_OK);
    alter(topic, "max.message.bytes", "1000", false);
    assert_int_equal(produce(topic, 100), DMQ_ERR_BATCH_TOO_LARGE);
    assert_int_equal(produce(topic, 1), DMQ_OK);
}

/* How many records are there after the power failed a moment after one was acknowledged. */
static int64_t
left_after_power_loss(struct uuid topic)
{
    sim_broker_crash(&sim, SIMFS_LOSE);
    sim_broker_start(&sim);
    assert_true(sim.ready);
    return sim_fetch(&sim, &(struct sim_fetch){.topic_id = topic, .epoch = -1}).high_watermark;
}

static void
from_async_to_sync_what_is_there_is_synced(void **state)
{
    (void)state;
    struct uuid topic = create("orders", "durability", "async");
    assert_int_equal(produce(topic, 1), DMQ_OK);
    assert_int_equal(left_after_power_loss(topic), 0);
    assert_int_equal(produce(topic, 1), DMQ_OK);
    alter(topic, "durability", "sync", true);
    assert_int_equal(left_after_power_loss(topic), 1);
    assert_int_equal(produce(topic, 1), DMQ_OK);
    assert_int_equal(left_after_power_loss(topic), 2);
}

/* Asks for the settings of a topic; *ret_response lives as long as the test. */
static dmq_err
ask(const char *name, struct describe_config_response *ret_response)
{
    const struct describe_config_request request = {.topic_name = bytes_str(name)};
    return sim_ask(&sim, API_DESCRIBE_CONFIG, &request, &arena, ret_response);
}

static const struct config_description *
find(const struct describe_config_response *response, const char *name)
{
    for (uint32_t i = 0; i < response->settings_count; i++) {
        if (bytes_equal_str(response->settings[i].name, name)) {
            return &response->settings[i];
        }
    }
    return NULL;
}

static void
settings_are_described(void **state)
{
    (void)state;
    struct describe_config_response response;
    create("orders", "retention.ms", "1000");
    assert_int_equal(ask("orders", &response), DMQ_OK);
    const struct config_description *own = find(&response, "retention.ms");
    assert_true(bytes_equal_str(own->value, "1000") && !own->is_default);
    assert_true(bytes_equal_str(own->default_value, "604800000"));
    const struct config_description *word = find(&response, "durability");
    assert_true(bytes_equal_str(word->value, "sync") && word->is_default);
    assert_true(bytes_equal_str(word->type, "sync or async"));
    const struct config_description *isr = find(&response, "min.insync.replicas");
    assert_true(bytes_equal_str(isr->value, "1")); /* one replica */
    assert_int_equal(ask("payments", &response), DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(ask("a/b", &response), DMQ_ERR_INVALID_TOPIC);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_segment_size_takes_effect_on_a_running_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_batch_limit_takes_effect, setup, teardown),
        cmocka_unit_test_setup_teardown(from_async_to_sync_what_is_there_is_synced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(settings_are_described, setup, teardown),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
