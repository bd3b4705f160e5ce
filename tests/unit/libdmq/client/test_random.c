/* A producer's batches through brokers and connections that fail at random, in virtual time: what
 * the rules of send_outcome.c promise, whatever happens.
 *
 * One log per partition stands for the replicated one; who leads it changes. A connection that ends
 * loses requests before they are carried out, after, or leaves them "on their way": then they are
 * carried out later, behind the requests of newer connections, as a server's queue may do it.
 *
 * Checked at the end: an acknowledged batch is in the log once, where it was said to be; one that
 * surely failed is not; none is there twice; those in the log are in the order of sending, where no
 * batch of unknown fate is among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/wire/codec.h"
#include "tests/support/client_rig.h"

enum { PARTITIONS = 2, SEEDS = 150, STEPS = 1500, MAX_BATCHES = 2000, POISON = 7, REMEMBERED = 5 };

struct stored {
    int64_t number;
    int64_t base;
};

struct known_producer {
    int64_t id;
    int16_t epoch;
    int32_t next_sequence;
    struct batch_header window[REMEMBERED];
    int count;
};

struct partition_log {
    struct stored batches[MAX_BATCHES];
    int count;
    int64_t end;
    struct known_producer producers[64];
    int producer_count;
    int outstanding; /* batches that the client holds */
};

struct late {
    struct rig_sent sent; /* only of PRODUCE; frames are references */
};

struct model {
    struct rig rig;
    struct rng rng;
    struct partition_log logs[PARTITIONS];
    struct late late[RIG_MAX];
    int late_count;
    int64_t next_producer_id;
    dmq_err outcomes[MAX_BATCHES];
    int64_t offsets[MAX_BATCHES];
    int8_t partitions[MAX_BATCHES];
    int64_t batch_count;
    int64_t finished;
};

/* What must have happened, over all seeds. */
static struct {
    int acknowledged;
    int duplicates;
    int refused;
    int unknown;
    int expired;
    int epochs;
    int late;
    int gaps;
} seen;

/* ---- the brokers ----------------------------------------------------------------------------- */

static struct known_producer *
find_producer(struct partition_log *log, int64_t id)
{
    for (int i = 0; i < log->producer_count; i++) {
        if (log->producers[i].id == id) {
            return &log->producers[i];
        }
    }
    return NULL;
}

static dmq_err
check_sequence(struct partition_log *log, const struct batch_header *header, int64_t *ret_base)
{
    struct known_producer *producer = find_producer(log, header->producer_id);
    if (producer == NULL) {
        if (header->base_sequence != 0) {
            return DMQ_ERR_UNKNOWN_PRODUCER_ID;
        }
        assert_true(log->producer_count < 64);
        producer = &log->producers[log->producer_count++];
        *producer =
            (struct known_producer){.id = header->producer_id, .epoch = header->producer_epoch};
    }
    if (header->producer_epoch < producer->epoch) {
        return DMQ_ERR_INVALID_PRODUCER_EPOCH;
    }
    if (header->producer_epoch > producer->epoch) {
        if (header->base_sequence != 0) {
            return DMQ_ERR_OUT_OF_ORDER_SEQUENCE;
        }
        *producer =
            (struct known_producer){.id = header->producer_id, .epoch = header->producer_epoch};
        seen.epochs++;
    }
    for (int i = 0; i < producer->count; i++) {
        if (producer->window[i].base_sequence == header->base_sequence &&
            producer->window[i].count == header->count) {
            *ret_base = producer->window[i].base_offset;
            seen.duplicates++;
            return DMQ_OK;
        }
    }
    if (header->base_sequence != producer->next_sequence) {
        seen.gaps++;
        return header->base_sequence < producer->next_sequence ? DMQ_ERR_DUPLICATE_SEQUENCE
                                                               : DMQ_ERR_OUT_OF_ORDER_SEQUENCE;
    }
    if (producer->count == REMEMBERED) {
        memmove(producer->window, producer->window + 1,
                (REMEMBERED - 1) * sizeof(producer->window[0]));
        producer->count--;
    }
    producer->window[producer->count] = *header;
    producer->window[producer->count++].base_offset = log->end;
    producer->next_sequence += header->count;
    return DMQ_OK;
}

static dmq_err
append(struct model *m, const struct produce_partition *to, int32_t node,
       const struct batch_header *header, int64_t *ret_base)
{
    struct partition_log *log = &m->logs[to->partition];
    *ret_base = -1;
    if (m->rig.leaders[to->partition] != node) {
        return DMQ_ERR_NOT_LEADER;
    }
    if (to->leader_epoch != m->rig.leader_epoch) {
        return DMQ_ERR_FENCED_LEADER_EPOCH;
    }
    if (header->count == POISON) {
        return DMQ_ERR_BATCH_TOO_LARGE;
    }
    dmq_err err = check_sequence(log, header, ret_base);
    if (err == DMQ_OK && *ret_base < 0) {
        *ret_base = log->end;
        assert_true(log->count < MAX_BATCHES);
        log->batches[log->count].number = header->base_timestamp;
        log->batches[log->count++].base = log->end;
        log->end += header->count;
    }
    return err;
}

/* The node behind a connection: its host is "b1", "b2" or "b3". */
static int32_t
node_of(const struct model *m, uint32_t conn)
{
    return m->rig.client->conns[conn]->host[1] - '0';
}

static void
carry_out(struct model *m, const struct rig_sent *sent, struct produce_result *results)
{
    for (uint32_t i = 0; i < sent->u.produce.partitions_count; i++) {
        const struct produce_partition *to = &sent->u.produce.partitions[i];
        struct batch_header header = rig_batch(sent, i);
        results[i] = (struct produce_result){.topic_id = to->topic_id, .partition = to->partition};
        results[i].error = append(m, to, node_of(m, sent->conn), &header, &results[i].base_offset);
    }
}

/* ---- what happens ---------------------------------------------------------------------------- */

/* Takes the outcomes that a step gave. */
static void
take_outcomes(struct model *m)
{
    for (int i = 0; i < m->rig.done_count; i++) {
        int64_t number = m->rig.done[i].number;
        assert_int_equal(m->outcomes[number], -99);
        m->outcomes[number] = m->rig.done[i].result.code;
        m->offsets[number] = m->rig.done[i].base_offset;
        m->logs[m->rig.done[i].partition].outstanding--;
        m->finished++;
    }
    m->rig.done_count = 0;
    m->rig.other_count = 0;
}

static void
send_some(struct model *m)
{
    int32_t partition = (int32_t)rng_below(&m->rng, PARTITIONS);
    if (m->logs[partition].outstanding == 5 || m->batch_count + 1 == MAX_BATCHES) {
        return;
    }
    m->batch_count++;
    m->outcomes[m->batch_count] = -99;
    m->partitions[m->batch_count] = (int8_t)partition;
    m->logs[partition].outstanding++;
    rig_send(&m->rig, partition, 1 + (int)rng_below(&m->rng, POISON));
}

static void
answer_one(struct model *m, bool healed)
{
    struct rig *rig = &m->rig;
    if (rig->sent_count == 0) {
        return;
    }
    /* In order within a connection. */
    struct rig_sent *sent = rig->sent[rng_below(&m->rng, (uint64_t)rig->sent_count)];
    for (int i = 0; i < rig->sent_count; i++) {
        if (rig->sent[i]->conn == sent->conn) {
            sent = rig->sent[i];
            break;
        }
    }
    struct produce_result results[RIG_MAX];
    struct produce_response body = {.partitions = results};
    switch (sent->header.api_key) {
    case API_METADATA:
        rig_answer_metadata(rig);
        break;
    case API_INIT_PRODUCER_ID:
        rig_answer_producer_id(rig, m->next_producer_id++);
        break;
    case API_PRODUCE:
        if (!healed && rng_chance(&m->rng, 100)) {
            rig_answer(rig, sent, DMQ_ERR_THROTTLED, NULL, NULL);
            break;
        }
        carry_out(m, sent, results);
        body.partitions_count = sent->u.produce.partitions_count;
        rig_answer(rig, sent, DMQ_OK, desc_produce_response(), &body);
        break;
    default:
        fail();
    }
}

static void
keep_late(struct model *m, const struct rig_sent *sent)
{
    if (m->late_count == RIG_MAX) {
        return;
    }
    struct late *late = &m->late[m->late_count++];
    late->sent = *sent;
    for (size_t i = 0; i < sent->frame_count; i++) {
        buf_ref(sent->frames[i]);
    }
}

/* The requests in flight: some are carried out, the rest is lost, or late. */
static void
break_conn(struct model *m, uint32_t conn)
{
    struct produce_result results[RIG_MAX];
    uint64_t done = rng_below(&m->rng, 4);
    bool late = rng_chance(&m->rng, 300);
    if (conn >= m->rig.client->conn_count) {
        return;
    }
    for (int i = 0; i < m->rig.sent_count; i++) {
        const struct rig_sent *sent = m->rig.sent[i];
        if (sent->conn != conn || sent->header.api_key != API_PRODUCE) {
            continue;
        }
        if (done > 0) {
            carry_out(m, sent, results);
            done--;
        } else if (late) {
            keep_late(m, sent);
        }
    }
    rig_disconnect(&m->rig, conn, DMQ_ERR_NETWORK);
}

static void
carry_out_late(struct model *m)
{
    struct produce_result results[RIG_MAX];
    if (m->late_count == 0) {
        return;
    }
    struct rig_sent *sent = &m->late[0].sent;
    carry_out(m, sent, results);
    seen.late++;
    for (size_t i = 0; i < sent->frame_count; i++) {
        buf_unref(sent->frames[i]);
    }
    memmove(m->late, m->late + 1, (size_t)--m->late_count * sizeof(m->late[0]));
}

static void
connect_wanted(struct model *m)
{
    for (uint32_t i = 0; i < 3; i++) {
        if (m->rig.connecting[i]) {
            rig_connect(&m->rig, i, node_of(m, i));
            return;
        }
    }
}

static void
move_leader(struct model *m)
{
    m->rig.leaders[rng_below(&m->rng, PARTITIONS)] = 1 + (int32_t)rng_below(&m->rng, 3);
    m->rig.leader_epoch++;
    m->rig.metadata_version++;
}

static void
act(struct model *m)
{
    uint64_t dice = rng_below(&m->rng, 100);
    if (dice < 25) {
        send_some(m);
    } else if (dice < 65) {
        answer_one(m, false);
    } else if (dice < 85) {
        rig_tick(&m->rig, (int64_t)rng_below(&m->rng, 40));
    } else if (dice < 93) {
        connect_wanted(m);
    } else if (dice < 95) {
        break_conn(m, (uint32_t)rng_below(&m->rng, 3));
    } else if (dice < 97) {
        carry_out_late(m);
    } else if (dice < 98) {
        move_leader(m);
    } else if (dice < 99 && rng_chance(&m->rng, 200)) {
        rig_tick(&m->rig, 1500); /* a pause: deliveries run out of time */
    }
    take_outcomes(m);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static int
times_stored(const struct model *m, int64_t number, int64_t *ret_base)
{
    const struct partition_log *log = &m->logs[m->partitions[number]];
    int times = 0;
    for (int i = 0; i < log->count; i++) {
        if (log->batches[i].number == number) {
            *ret_base = log->batches[i].base;
            times++;
        }
    }
    return times;
}

static void
check_batch(const struct model *m, int64_t number)
{
    int64_t base = -1;
    int times = times_stored(m, number, &base);
    assert_true(times <= 1);
    switch (m->outcomes[number]) {
    case DMQ_OK:
        assert_int_equal(times, 1);
        assert_true(m->offsets[number] == base || m->offsets[number] == -1);
        seen.acknowledged++;
        break;
    case DMQ_ERR_BATCH_TOO_LARGE:
        assert_int_equal(times, 0);
        seen.refused++;
        break;
    case DMQ_ERR_DELIVERY_TIMEOUT:
        assert_int_equal(times, 0);
        seen.expired++;
        break;
    case DMQ_ERR_TIMEOUT:
        seen.unknown++;
        break;
    default:
        fail_msg("batch %lld: %d", (long long)number, (int)m->outcomes[number]);
    }
}

static void
check_order(const struct model *m, const struct partition_log *log)
{
    int64_t last = 0;
    for (int i = 0; i < log->count; i++) {
        if (m->outcomes[log->batches[i].number] == DMQ_OK) {
            assert_true(log->batches[i].number > last);
            last = log->batches[i].number;
        }
    }
}

static void
run_seed(uint64_t seed)
{
    struct sender_config config = rig_sender;
    struct model *m = calloc(1, sizeof(*m));
    config.delivery_timeout_ms = 3000;
    rng_init(&m->rng, seed);
    m->next_producer_id = 1000;
    rig_init(&m->rig, 1);
    rig_open(&m->rig);
    rig_producer(&m->rig, &config);
    for (int i = 0; i < STEPS; i++) {
        act(m);
    }
    /* Everything heals: whatever is left comes to an end. */
    for (int i = 0; i < 10000 && m->finished < m->batch_count; i++) {
        connect_wanted(m);
        answer_one(m, true);
        rig_tick(&m->rig, 5);
        take_outcomes(m);
    }
    while (m->late_count > 0) {
        carry_out_late(m);
    }
    assert_int_equal(m->finished, m->batch_count);
    for (int64_t number = 1; number <= m->batch_count; number++) {
        check_batch(m, number);
    }
    for (int i = 0; i < PARTITIONS; i++) {
        check_order(m, &m->logs[i]);
    }
    rig_deinit(&m->rig);
    free(m);
}

static void
test_no_loss_no_duplicate_no_disorder(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
    }
    print_message("acknowledged %d, duplicates refused %d, gaps %d, epochs raised %d, late %d, "
                  "refused %d, expired %d, unknown %d\n",
                  seen.acknowledged, seen.duplicates, seen.gaps, seen.epochs, seen.late,
                  seen.refused, seen.expired, seen.unknown);
    assert_true(seen.acknowledged > 10000 && seen.duplicates > 100 && seen.gaps > 100);
    assert_true(seen.epochs > 100 && seen.late > 100 && seen.refused > 100);
    assert_true(seen.expired > 10 && seen.unknown > 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_loss_no_duplicate_no_disorder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
