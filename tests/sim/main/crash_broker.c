/* The crash test of one broker: the process dies at every effect boundary of a script with rolls,
 * restarts and a full producer window, and at every call inside an effect that changes the disk;
 * what was not synced is lost, kept or torn; it dies again while it recovers; then producers retry
 * what was not acknowledged. After that
 *
 *   - every acknowledged record is there, once, in order, at the offset that was acknowledged;
 *   - so is every record that was sent, once, in the order in which it was sent;
 *   - recovering twice gives what recovering once gave.
 *
 * The oldest segments go by retention.bytes: where the log begins, it begins with a batch, and the
 * rest is as large as it must be. In between the disk is full for a while: batches are refused,
 * others wait in memory, and both go on when there is space.
 *
 *   crash_broker [SEED]      one script, all its crash points */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/batch_read.h"
#include "tests/sim/sim_broker.h"

#define PARTITIONS 2
#define BATCHES 90 /* of each partition */
#define WINDOW 5
#define MAX_RECORDS 3 /* of a batch */
#define TOPIC_SEGMENT_BYTES "4096"
#define SEGMENT_BYTES 4096
#define TOPIC_RETENTION_BYTES "4096"
#define RETENTION_BYTES 4096
#define RETENTION_CHECK_MS 100

/* ---- the model: what was sent, and what the producer was told -------------------------------- */

struct sent {
    int32_t sequence;
    int32_t count;
    int64_t correlation; /* of the last try; 0: not in flight */
    int64_t base_offset; /* as acknowledged; -1: not yet */
    size_t size;         /* of the batch */
};

struct producer {
    struct sent batches[BATCHES];
    size_t sent;
    size_t acked; /* the first so many are acknowledged */
    int32_t next_sequence;
};

struct model {
    struct uuid topic_id;
    struct producer producers[PARTITIONS];
};

struct counts {
    uint64_t boundaries; /* crash points between effects */
    uint64_t changes;    /* and inside them */
    uint64_t runs;
    uint64_t rolls;
    uint64_t restarts;
    uint64_t recovery_crashes;
    uint64_t duplicates;
    uint64_t cut_batches;  /* sent, not acknowledged, and gone after the crash */
    uint64_t kept_batches; /* sent, not acknowledged, and there after the crash */
    uint64_t full_windows;
    uint64_t refused; /* batches, for the full disk */
    uint64_t removed; /* batches, by retention */
    uint64_t waited;  /* batches that were appended, and written when there was space */
};

static struct counts counts;
static uint64_t the_seed;
static uint64_t the_point;
static bool the_point_is_inside; /* an effect */
static int the_tear;

static void
fail(const char *what, int partition, int64_t offset)
{
    fprintf(stderr,
            "crash_broker: %s (partition %d, offset %" PRId64 "): seed %" PRIu64
            ", crash point %" PRIu64 "%s, tear %d\n",
            what, partition, offset, the_seed, the_point,
            the_point_is_inside ? " inside an effect" : "", the_tear);
    exit(1);
}

/* The value of a record says which it is; its size makes segments roll. */
static size_t
make_value(uint8_t *value, int partition, size_t batch, int32_t record)
{
    int size = snprintf((char *)value, 512, "p%d b%zu r%d ", partition, batch, record);
    size_t total = 200 + (batch * 37 + (size_t)record * 11) % 250;
    memset(value + size, 'a' + (int)(batch % 26), total - (size_t)size);
    return total;
}

static struct buf *
make_batch(int partition, size_t index, const struct sent *sent)
{
    struct batch_builder builder;
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    struct buf *batch;
    uint8_t value[512];
    batch_builder_init(&builder, 65536);
    for (int32_t r = 0; r < sent->count; r++) {
        size_t size = make_value(value, partition, index, r);
        dmq_err err = batch_builder_append(&builder, 1000 + (int64_t)index, (struct bytes){NULL, 0},
                                           bytes_of(value, size), NULL, 0);
        DMQ_ASSERT(err == DMQ_OK);
    }
    options.producer_id = 1000 + partition;
    options.producer_epoch = 0;
    options.base_sequence = sent->sequence;
    dmq_err err = batch_builder_finish(&builder, &options, NULL, &batch);
    DMQ_ASSERT(err == DMQ_OK);
    batch_builder_deinit(&builder);
    return batch;
}

/* ---- producing ------------------------------------------------------------------------------- */

static void
send_batch(struct sim_broker *sim, struct model *model, int partition, size_t index)
{
    struct sent *sent = &model->producers[partition].batches[index];
    struct produce_partition to = {
        .topic_id = model->topic_id, .partition = partition, .leader_epoch = -1};
    const struct produce_request request = {.acks = -1, .partitions = &to, .partitions_count = 1};
    struct buf *batch = make_batch(partition, index, sent);
    sent->size = batch->size;
    sent->correlation = sim_broker_request(sim, API_PRODUCE, &request, &batch, 1);
}

static void
send_next(struct sim_broker *sim, struct model *model, int partition)
{
    struct producer *producer = &model->producers[partition];
    struct sent *sent = &producer->batches[producer->sent];
    sent->sequence = producer->next_sequence;
    sent->count = 1 + (int32_t)(producer->sent % MAX_RECORDS);
    sent->base_offset = -1;
    producer->next_sequence += sent->count;
    send_batch(sim, model, partition, producer->sent++);
}

/* The error of a produce's only partition. */
static dmq_err
take_answer(struct sim_reply *reply, int64_t *ret_base)
{
    struct produce_response response;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    dmq_err err = sim_reply_decode(reply, API_PRODUCE, &arena, &response);
    if (err == DMQ_OK) {
        DMQ_ASSERT(response.partitions_count == 1);
        err = response.partitions[0].error;
        *ret_base = response.partitions[0].base_offset;
    }
    arena_deinit(&arena);
    sim_reply_free(reply);
    return err;
}

/* Takes the answers that came. A full disk is the only cause for an error here. */
static void
take_answers(struct sim_broker *sim, struct model *model)
{
    for (int partition = 0; partition < PARTITIONS; partition++) {
        struct producer *producer = &model->producers[partition];
        for (size_t i = producer->acked; i < producer->sent; i++) {
            struct sent *sent = &producer->batches[i];
            struct sim_reply *reply = sim_broker_reply(sim, sent->correlation);
            if (reply == NULL) {
                continue;
            }
            dmq_err err = take_answer(reply, &sent->base_offset);
            if (err == DMQ_ERR_DISK_FULL) {
                counts.refused++;
                continue;
            }
            if (err != DMQ_OK) {
                fail("a produce was refused", partition, (int64_t)i);
            }
            if (i != producer->acked) {
                fail("acknowledged out of order", partition, (int64_t)i);
            }
            producer->acked++;
        }
    }
}

static void
send_window(struct sim_broker *sim, struct model *model, int partition)
{
    struct producer *producer = &model->producers[partition];
    for (int n = 0; n < WINDOW && producer->sent < BATCHES; n++) {
        send_next(sim, model, partition);
    }
    counts.full_windows += producer->sent - producer->acked == WINDOW;
}

static uint64_t
waiting(const struct model *model)
{
    uint64_t batches = 0;
    for (int partition = 0; partition < PARTITIONS; partition++) {
        batches += model->producers[partition].sent - model->producers[partition].acked;
    }
    return batches;
}

static void
send_again(struct sim_broker *sim, struct model *model)
{
    for (int partition = 0; partition < PARTITIONS; partition++) {
        struct producer *producer = &model->producers[partition];
        for (size_t i = producer->acked; i < producer->sent; i++) {
            send_batch(sim, model, partition, i);
        }
    }
}

/* One window of batches meets a full disk, the next comes when this is known; then there is space
 * again, and only what was refused is sent once more. */
static bool
fill_disk(struct sim_broker *sim, struct model *model)
{
    simfs_set_capacity(sim->disk, simfs_used(sim->disk));
    for (int n = 0; n < 2; n++) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            send_window(sim, model, partition);
        }
        if (!sim_broker_wait(sim, 1100)) { /* tries again, and fails again */
            return false;
        }
        take_answers(sim, model);
    }
    uint64_t before = waiting(model);
    simfs_set_capacity(sim->disk, UINT64_MAX);
    bool alive = sim_broker_wait(sim, 1100);
    take_answers(sim, model);
    counts.waited += before - waiting(model);
    if (alive) {
        send_again(sim, model);
        alive = sim_broker_run(sim);
        take_answers(sim, model);
    }
    return alive;
}

/* The script: windows of produces, restarts clean and not, pauses in which marks are written. False
 * if the process crashed on the way. */
static bool
run_script(struct sim_broker *sim, struct model *model)
{
    const struct config_entry config[] = {
        {bytes_str("segment.bytes"), bytes_str(TOPIC_SEGMENT_BYTES)},
        {bytes_str("retention.bytes"), bytes_str(TOPIC_RETENTION_BYTES)},
        {bytes_str("retention.ms"), bytes_str("-1")}};
    sim_broker_start(sim);
    if (sim->crashed) {
        return false;
    }
    model->topic_id =
        sim_controller_create_topic(sim->ctl, SIM_BROKER_ID, "t", PARTITIONS, config, 3);
    if (!sim_broker_run(sim)) {
        return false;
    }
    for (int round = 0; model->producers[0].sent < BATCHES; round++) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            send_window(sim, model, partition);
        }
        if (round % 3 == 0) { /* retention looks while nothing of this is synced */
            sim_broker_skip(sim, RETENTION_CHECK_MS);
        }
        bool alive = sim_broker_run(sim);
        take_answers(sim, model);
        if (!alive || (round % 2 == 1 && !sim_broker_wait(sim, 130))) {
            return false;
        }
        if (round == 2) {
            if (!sim_broker_stop(sim)) {
                return false;
            }
            sim_broker_start(sim);
        } else if (round == 4) {
            sim_broker_crash(sim, SIMFS_KEEP); /* kill -9: the page cache stays */
            sim_broker_start(sim);
        } else if (round % 6 == 5 && !fill_disk(sim, model)) {
            return false;
        }
        counts.restarts += round == 2 || round == 4;
        if (sim->crashed) {
            return false;
        }
    }
    return sim_broker_wait(sim, 1500) && sim_broker_stop(sim);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct log_copy {
    struct buf *data; /* whole batches; NULL: none */
    int64_t start;
    int64_t end;
};

static struct log_copy
read_log(struct sim_broker *sim, const struct model *model, int partition)
{
    struct outbuf all = {0};
    struct brk_partition_view view = {.start = 0};
    if (!brk_partition_view(sim->brk, model->topic_id, partition, &view)) {
        fail("the log cannot be used", partition, -1);
    }
    int64_t offset = view.start;
    for (;;) {
        struct fetch_partition from = {.topic_id = model->topic_id,
                                       .partition = partition,
                                       .leader_epoch = -1,
                                       .fetch_offset = offset,
                                       .max_bytes = 1 << 20,
                                       .last_fetched_epoch = -1};
        const struct fetch_request request = {
            .replica_id = -1, .max_bytes = 1 << 20, .partitions = &from, .partitions_count = 1};
        int64_t correlation = sim_broker_request(sim, API_FETCH, &request, NULL, 0);
        sim_broker_run(sim);
        struct sim_reply *reply = sim_broker_reply(sim, correlation);
        struct fetch_response response;
        struct arena arena;
        arena_init(&arena, 1 << 16);
        if (reply == NULL || sim_reply_decode(reply, API_FETCH, &arena, &response) != DMQ_OK ||
            response.partitions[0].error != DMQ_OK) {
            fail("a fetch was refused", partition, offset);
        }
        struct bytes rest = buf_bytes(reply->frames[2]);
        struct bytes batch;
        size_t before = all.size;
        while (batch_next(&rest, &batch) == DMQ_OK) {
            struct batch_header header;
            if (batch_parse(batch, &header) != DMQ_OK || header.base_offset != offset) {
                fail("a batch is not where it belongs", partition, offset);
            }
            outbuf_put(&all, batch.data, batch.size);
            offset = batch_last_offset(&header) + 1;
        }
        arena_deinit(&arena);
        sim_reply_free(reply);
        if (all.size == before) {
            break;
        }
    }
    return (struct log_copy){all.size == 0 ? NULL : outbuf_take(&all), view.start, offset};
}

static void
check_batch(struct bytes batch, int partition, size_t index, const struct sent *sent,
            int64_t expected_offset)
{
    const struct batch_limits limits = {.max_bytes = 0};
    struct batch_reader reader;
    struct batch_header header;
    struct batch_record record;
    struct err_msg err;
    uint8_t value[512];
    int32_t r = 0;
    if (batch_check(batch, &limits, &err, &header) != DMQ_OK) {
        fail("a batch is corrupt", partition, expected_offset);
    }
    if (header.base_sequence != sent->sequence || header.count != sent->count) {
        fail("a batch is lost, doubled or out of order", partition, expected_offset);
    }
    if (sent->base_offset >= 0 && sent->base_offset != expected_offset) {
        fail("a record is not at the offset that was acknowledged", partition, expected_offset);
    }
    batch_reader_init(&reader, &COMPRESS_DEFAULT_LIMITS);
    dmq_err failed = batch_reader_open(&reader, batch, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    while (batch_reader_next(&reader, &record)) {
        size_t size = make_value(value, partition, index, r);
        if (record.offset != expected_offset + r ||
            !bytes_equal(record.value, bytes_of(value, size))) {
            fail("a record has another value", partition, record.offset);
        }
        r++;
    }
    if (r != sent->count || batch_reader_result(&reader, &err) != DMQ_OK) {
        fail("records are missing from a batch", partition, expected_offset);
    }
    batch_reader_deinit(&reader);
}

/* Which batch the log begins with. What is left, and what the crash took of its end, is no less
 * than retention keeps. */
static size_t
first_batch(const struct producer *producer, int partition, int64_t start)
{
    int64_t offset = 0;
    uint64_t rest = 0;
    size_t first = 0;
    while (first < producer->sent && offset < start) {
        offset += producer->batches[first++].count;
    }
    for (size_t i = first; i < producer->sent; i++) {
        rest += producer->batches[i].size;
    }
    if (offset != start || (start > 0 && rest < RETENTION_BYTES)) {
        fail("the log does not begin where it may", partition, start);
    }
    counts.removed += first;
    return first;
}

/* The log holds the first so many batches that were sent, each once and in order, all acknowledged
 * ones among them, but for what retention took. Returns how many. */
static size_t
check_log(struct sim_broker *sim, const struct model *model, int partition)
{
    const struct producer *producer = &model->producers[partition];
    struct log_copy copy = read_log(sim, model, partition);
    struct bytes rest = copy.data == NULL ? (struct bytes){NULL, 0} : buf_bytes(copy.data);
    struct bytes batch;
    size_t index = first_batch(producer, partition, copy.start);
    int64_t offset = copy.start;
    while (batch_next(&rest, &batch) == DMQ_OK) {
        if (index == producer->sent) {
            fail("a record that was never sent", partition, offset);
        }
        check_batch(batch, partition, index, &producer->batches[index], offset);
        offset += producer->batches[index++].count;
    }
    if (index < producer->acked) {
        fail("an acknowledged record is lost", partition, offset);
    }
    buf_unref(copy.data);
    return index;
}

static void
check_same(struct sim_broker *sim, const struct model *model, struct log_copy *before)
{
    for (int partition = 0; partition < PARTITIONS; partition++) {
        struct log_copy now = read_log(sim, model, partition);
        if (now.end != before[partition].end || now.start != before[partition].start ||
            (now.data != NULL &&
             !bytes_equal(buf_bytes(now.data), buf_bytes(before[partition].data)))) {
            fail("recovering again gave something else", partition, now.end);
        }
        buf_unref(now.data);
        buf_unref(before[partition].data);
    }
}

/* ---- one crash point ------------------------------------------------------------------------- */

/* Starts the broker again; dies `deaths` times on the way, each time a little later. */
static void
recover(struct sim_broker *sim, int deaths, enum simfs_crash tear)
{
    for (int i = 0; i < deaths; i++) {
        sim->crash_at = sim->boundaries + 1 + rng_below(&sim->rng, 6);
        sim_broker_start(sim);
        if (sim->crashed) {
            counts.recovery_crashes++;
        }
        sim_broker_crash(sim, tear);
    }
    sim->crash_at = 0;
    sim_broker_start(sim);
    if (!sim->ready) {
        fail("the broker did not come back", -1, -1);
    }
}

static void
retry(struct sim_broker *sim, struct model *model)
{
    send_again(sim, model);
    sim_broker_run(sim);
    take_answers(sim, model);
    for (int partition = 0; partition < PARTITIONS; partition++) {
        struct producer *producer = &model->producers[partition];
        if (producer->acked != producer->sent) {
            fail("a retry was not acknowledged", partition, (int64_t)producer->acked);
        }
    }
}

static void
check_all(struct sim_broker *sim, struct model *model)
{
    struct log_copy before[PARTITIONS];
    struct brk_stats stats;
    for (int partition = 0; partition < PARTITIONS; partition++) {
        const struct producer *producer = &model->producers[partition];
        size_t there = check_log(sim, model, partition);
        counts.kept_batches += there - producer->acked;
        counts.cut_batches += producer->sent - there;
        before[partition] = read_log(sim, model, partition);
    }
    sim_broker_crash(sim, SIMFS_LOSE);
    recover(sim, 0, SIMFS_LOSE);
    check_same(sim, model, before);
    retry(sim, model);
    brk_stats(sim->brk, &stats);
    counts.duplicates += (uint64_t)stats.duplicates;
    for (int partition = 0; partition < PARTITIONS; partition++) {
        if (check_log(sim, model, partition) != model->producers[partition].sent) {
            fail("a retried record is missing", partition, -1);
        }
    }
}

/* Runs the script up to the point, crashes there, recovers, retries, checks. */
static void
run_point(uint64_t point, bool inside, enum simfs_crash tear, int deaths)
{
    struct sim_broker sim;
    struct model model = {.producers = {{.sent = 0}}};
    the_point = point;
    the_point_is_inside = inside;
    the_tear = (int)tear;
    sim_broker_init(&sim, the_seed);
    sim.retention_check_ms = RETENTION_CHECK_MS;
    if (inside) {
        sim.die_at = point;
    } else {
        sim.crash_at = point;
    }
    bool finished = run_script(&sim, &model);
    DMQ_ASSERT(!finished);
    sim.die_at = 0;
    sim.retention_check_ms = 0; /* from here on nothing more may go */
    simfs_set_capacity(sim.disk, UINT64_MAX);
    rng_init(&sim.rng, the_seed ^ point << 8 ^ (uint64_t)deaths);
    sim_broker_crash(&sim, tear);
    recover(&sim, deaths, tear);
    if (!uuid_is_zero(model.topic_id)) {
        check_all(&sim, &model);
    }
    sim_broker_deinit(&sim);
    counts.runs++;
}

static void
count_points(void)
{
    struct sim_broker sim;
    struct model model = {.producers = {{.sent = 0}}};
    sim_broker_init(&sim, the_seed);
    sim.retention_check_ms = RETENTION_CHECK_MS;
    bool finished = run_script(&sim, &model);
    if (!finished || model.producers[0].acked != BATCHES) {
        fail("the script does not run through", 0, (int64_t)model.producers[0].acked);
    }
    counts.rolls = 0;
    for (int partition = 0; partition < PARTITIONS; partition++) {
        const struct producer *producer = &model.producers[partition];
        uint64_t bytes = 0;
        for (size_t i = 0; i < producer->sent; i++) {
            bytes += producer->batches[i].size;
        }
        counts.rolls += bytes / SEGMENT_BYTES - 1; /* at least: none holds more */
    }
    counts.boundaries = sim.boundaries;
    counts.changes = simfs_counts(sim.disk)->changes;
    sim_broker_deinit(&sim);
}

static void
require(const char *what, uint64_t count, uint64_t least)
{
    printf("  %-34s %8" PRIu64 "\n", what, count);
    if (count < least) {
        fprintf(stderr, "crash_broker: only %" PRIu64 " %s: the test does not test\n", count, what);
        exit(1);
    }
}

/* The same point with every way of losing what was not synced, and with deaths during recovery. */
static void
run_tears(uint64_t point, bool inside)
{
    static const enum simfs_crash tears[] = {SIMFS_LOSE, SIMFS_KEEP, SIMFS_TEAR, SIMFS_TEAR};
    for (size_t i = 0; i < sizeof(tears) / sizeof(tears[0]); i++) {
        run_point(point, inside, tears[i], (int)(i % 3));
    }
}

int
main(int argc, char **argv)
{
    the_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    count_points();
    uint64_t restarts = counts.restarts;
    for (uint64_t point = 1; point <= counts.boundaries; point++) {
        run_tears(point, false);
    }
    for (uint64_t point = 1; point < counts.changes; point++) {
        run_tears(point, true);
    }
    printf("crash_broker: seed %" PRIu64 "\n", the_seed);
    require("crash points between effects", counts.boundaries, 200);
    require("crash points inside effects", counts.changes, 300);
    require("runs (point and tear)", counts.runs, 2000);
    require("rolls in the script", counts.rolls, 3 * PARTITIONS);
    require("restarts in the script", restarts, 2);
    require("full producer windows", counts.full_windows, 10);
    require("batches removed by retention", counts.removed, 1000);
    require("batches refused by a full disk", counts.refused, 100);
    require("batches that waited for space", counts.waited, 100);
    require("crashes during recovery", counts.recovery_crashes, 100);
    require("duplicates refused", counts.duplicates, 10);
    require("unacknowledged batches cut", counts.cut_batches, 10);
    require("unacknowledged batches kept", counts.kept_batches, 10);
    printf("%" PRIu64 " passed, 0 failed\n", counts.runs);
    return 0;
}
