/* Topics are deleted, and the process dies: at every effect of a script, and at every call inside
 * one that changes the disk. Whenever it is, the next start ends with the deletion's folders gone,
 * everything else there, and no folder that nobody knows of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libdmq/base/assert.h"
#include "tests/sim/sim_client.h"

#define PARTITIONS 2
#define RECORDS 6

static struct sim_broker sim;

struct script {
    struct uuid kept;
    struct uuid doomed;
    struct uuid late;  /* made when all else was done */
    int64_t kept_acks; /* records of kept that were acknowledged */
    bool deleted;      /* the controller has decided it */
};

static bool
folder_exists(struct uuid topic_id)
{
    char id[UUID_TEXT_SIZE];
    char path[128];
    snprintf(path, sizeof(path), "/data/%s", uuid_text(topic_id, id));
    return simfs_exists(sim.disk, path);
}

static bool
fill(struct uuid topic_id, int64_t *acks)
{
    for (int i = 0; i < RECORDS; i++) {
        struct sim_produced done =
            sim_produce(&sim, topic_id, i % PARTITIONS, -1, &(struct sim_batch){.value = "x"});
        if (sim.crashed) {
            return false;
        }
        assert_int_equal(done.err, DMQ_OK);
        (*acks)++;
    }
    return true;
}

/* False if the process died on the way. */
static bool
run_script(struct script *script)
{
    int64_t ignored = 0;
    sim_broker_start(&sim);
    if (sim.crashed) {
        return false;
    }
    script->kept = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "kept", PARTITIONS, NULL, 0);
    script->doomed =
        sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "doomed", PARTITIONS, NULL, 0);
    if (!sim_broker_run(&sim) || !fill(script->kept, &script->kept_acks) ||
        !fill(script->doomed, &ignored) || !sim_broker_wait(&sim, 1200)) {
        return false;
    }
    sim_controller_delete_topic(sim.ctl, script->doomed);
    script->deleted = true;
    if (!sim_broker_wait(&sim, 200)) {
        return false;
    }
    script->late = sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "late", PARTITIONS, NULL, 0);
    return sim_broker_wait(&sim, 1200) && sim_broker_stop(&sim);
}

static int64_t
records_in(struct uuid topic_id)
{
    int64_t records = 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct brk_partition_view view;
        assert_true(brk_partition_view(sim.brk, topic_id, p, &view));
        records += view.end - view.start;
    }
    return records;
}

/* What the store knows by itself, before a controller tells more: no folder without a topic. */
static void
check_known(const struct script *script)
{
    struct brk_partition_view view;
    const struct uuid topics[] = {script->kept, script->doomed, script->late};
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        if (!uuid_is_zero(topics[i]) && folder_exists(topics[i])) {
            assert_true(brk_partition_view(sim.brk, topics[i], 0, &view));
        }
    }
}

/* Nothing that was acknowledged before it looks damaged because a folder went too early. */
static void
check_folder_state(void)
{
    const struct broker_record *self = image_broker(sim.ctl->image, SIM_BROKER_ID);
    assert_non_null(self);
    assert_int_equal(self->folders_count, 1);
    assert_int_not_equal(self->folders[0].state, 2); /* damaged */
}

static void
check(const struct script *script)
{
    sim.controllers[1].refuses = true;
    sim.crash_at = 0;
    sim.die_at = 0;
    sim_broker_start(&sim);
    sim_broker_wait(&sim, 50);
    check_known(script);
    sim.controllers[1].refuses = false;
    sim_broker_wait(&sim, 3000);
    assert_true(sim.ready);
    check_folder_state();
    if (!uuid_is_zero(script->kept)) {
        assert_true(records_in(script->kept) >= script->kept_acks);
    }
    if (script->deleted) {
        assert_false(folder_exists(script->doomed));
    } else if (!uuid_is_zero(script->doomed)) {
        assert_true(folder_exists(script->doomed));
    }
    assert_true(sim_broker_stop(&sim));
}

static uint64_t
begin(struct script *script, uint64_t boundary, uint64_t change)
{
    *script = (struct script){.deleted = false};
    sim_broker_init(&sim, 7);
    sim.crash_at = boundary;
    sim.die_at = change;
    return (uint64_t)run_script(script);
}

static void
whenever_the_process_dies_a_deleted_topic_goes_and_nothing_else(void **state)
{
    static const enum simfs_crash tears[] = {SIMFS_LOSE, SIMFS_KEEP, SIMFS_TEAR};
    struct script script;
    uint64_t after = 0;
    (void)state;
    assert_true(begin(&script, 0, 0));
    uint64_t boundaries = sim.boundaries;
    uint64_t changes = simfs_counts(sim.disk)->changes;
    sim_broker_deinit(&sim);
    for (uint64_t point = 1; point < boundaries + changes; point++) {
        bool inside = point > boundaries;
        for (size_t t = 0; t < sizeof(tears) / sizeof(tears[0]); t++) {
            begin(&script, inside ? 0 : point, inside ? point - boundaries : 0);
            assert_true(sim.crashed);
            after += script.deleted;
            sim_broker_crash(&sim, tears[t]);
            check(&script);
            sim_broker_deinit(&sim);
        }
    }
    print_message("%llu boundaries, %llu changes, %llu runs died after the deletion was decided\n",
                  (unsigned long long)boundaries, (unsigned long long)changes,
                  (unsigned long long)after);
    assert_true(after > 100);
}

/* Metadata that are behind, or were lost, are no reason to remove anything. */
static void
a_folder_that_nothing_is_known_of_stays(void **state)
{
    static const char *const path = "/data/00112233-4455-6677-8899-aabbccddeeff/0/"
                                    "00000000000000000000.log";
    (void)state;
    sim_broker_init(&sim, 7);
    sim_broker_start(&sim);
    assert_true(sim_broker_stop(&sim));
    simfs_make_folder(sim.disk, "/data/00112233-4455-6677-8899-aabbccddeeff");
    simfs_make_folder(sim.disk, "/data/00112233-4455-6677-8899-aabbccddeeff/0");
    simfs_put_file(sim.disk, path, bytes_str("records of a topic that may still be told of"));
    for (int start = 0; start < 2; start++) {
        sim_broker_start(&sim);
        assert_true(sim.ready);
        sim_broker_wait(&sim, 3000);
        assert_true(sim_broker_stop(&sim));
    }
    assert_true(simfs_exists(sim.disk, path));
    sim_broker_deinit(&sim);
}

/* The store has no space for the deletion, but the deletion makes it. */
static void
a_topic_goes_where_the_disk_is_full_to_the_last_byte(void **state)
{
    struct script script = {.deleted = false};
    int64_t ignored = 0;
    (void)state;
    sim_broker_init(&sim, 7);
    sim_broker_start(&sim);
    script.doomed =
        sim_controller_create_topic(sim.ctl, SIM_BROKER_ID, "doomed", PARTITIONS, NULL, 0);
    assert_true(sim_broker_wait(&sim, 50) && fill(script.doomed, &ignored));
    simfs_set_capacity(sim.disk, simfs_used(sim.disk));
    sim.store_waits = true;
    sim_controller_delete_topic(sim.ctl, script.doomed);
    assert_true(sim_broker_wait(&sim, 900)); /* that there is none is not known yet */
    assert_true(folder_exists(script.doomed));
    assert_true(sim_broker_wait(&sim, 1100));
    assert_false(folder_exists(script.doomed));
    sim.store_waits = false;
    assert_true(sim_broker_wait(&sim, 1100) && sim_broker_stop(&sim));
    sim_broker_deinit(&sim);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whenever_the_process_dies_a_deleted_topic_goes_and_nothing_else),
        cmocka_unit_test(a_folder_that_nothing_is_known_of_stays),
        cmocka_unit_test(a_topic_goes_where_the_disk_is_full_to_the_last_byte),
    };
    return cmocka_run_group_tests_name("broker/core/removal", tests, NULL, NULL);
}
