/* libdmq: the C interface of DMQ, a durable, replicated log.
 *
 * Conventions, once for all:
 *
 * - Names. A topic is a set of partitions, a partition an append-only log; the position of a record
 *   in it is its offset. Text is UTF-8. Times are int64_t milliseconds: `_ms` durations, timestamps
 *   since 1970. Sizes are bytes.
 * - Handles (dmq_client, dmq_producer, dmq_consumer, dmq_batch) are opaque. Who opens one closes
 *   it; closing NULL does nothing. Close producers and consumers before their client.
 * - Errors. A function that can fail returns DMQ_OK or a DMQ_ERR_* (errors.h) and, if `error` is
 *   not NULL, fills it. `ret_` arguments are set on success only.
 * - Time limits. A blocking call takes timeout_ms: 0 tries once without waiting, -1 waits for ever.
 *   It returns DMQ_ERR_INTERRUPTED early if another thread called dmq_client_interrupt.
 * - Threads. A client and a producer may be used by any number of threads at once; a consumer and a
 *   batch by one thread at a time. A client runs one background thread, which blocks all signals.
 *   There are no callbacks but the logger's: completions are taken from a queue, and
 *   dmq_client_fd becomes readable when there may be some.
 * - fork. A handle is of the process that opened it: in a child its functions return
 *   DMQ_ERR_FORKED, and closing it there frees nothing that the parent owns.
 * - Options are pairs of strings ({"linger.ms", "5"}); an unknown name is DMQ_ERR_INVALID_ARGUMENT
 *   with the nearest one in the sentence.
 * - The ABI. A struct that the caller fills begins with its size; an array that the library fills
 *   comes with the size of its elements (`stride`): step by that. Later versions add members at
 *   the end only.
 */
#ifndef DMQ_DMQ_H
#define DMQ_DMQ_H

#include <stddef.h>
#include <stdint.h>

#include "dmq/errors.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DMQ_EXPORT __attribute__((visibility("default")))
#else
#define DMQ_EXPORT
#endif

typedef struct dmq_client dmq_client;
typedef struct dmq_producer dmq_producer;
typedef struct dmq_consumer dmq_consumer;
typedef struct dmq_batch dmq_batch;

/* ---- values ---------------------------------------------------------------------------------- */

/* Caller-owned; size must be set to sizeof(dmq_error) before the call. */
typedef struct dmq_error {
    uint32_t size;
    dmq_err code;
    int32_t cls;       /* DMQ_CLASS_* */
    char message[512]; /* one sentence for people: what, where, why, what to do; terminated */
} dmq_error;

/* A pair of option strings. */
typedef struct dmq_option {
    const char *name;
    const char *value;
} dmq_option;

/* Borrowed bytes. data NULL is "null", which differs from empty in keys and values. */
typedef struct dmq_bytes {
    const void *data;
    size_t size;
} dmq_bytes;

typedef struct dmq_header {
    dmq_bytes key; /* never null */
    dmq_bytes value;
} dmq_header;

/* A record to send. Zero it, set size; borrowed during the call only. */
typedef struct dmq_record {
    uint32_t size;     /* sizeof(dmq_record) */
    int32_t partition; /* DMQ_PARTITION_AUTO, or which */
    dmq_bytes key;     /* records with equal keys go to one partition, in order */
    dmq_bytes value;   /* null is a tombstone in a compacted topic */
    const dmq_header *headers;
    uint32_t header_count;
    int64_t timestamp; /* 0: now */
    uint64_t opaque;   /* comes back in the dmq_delivery; 0: none is wanted */
} dmq_record;

/* What became of a record that was sent with an opaque. */
typedef struct dmq_delivery {
    uint64_t opaque;
    dmq_err code; /* DMQ_OK: stored as the producer's acks ask for */
    int32_t partition;
    int64_t offset; /* -1 unless DMQ_OK, and with acks=0 */
    int64_t timestamp;
} dmq_delivery;

/* A record read. Borrowed from its batch. */
typedef struct dmq_message {
    int64_t offset;
    int64_t timestamp;
    dmq_bytes key;
    dmq_bytes value;
    uint32_t header_count; /* dmq_batch_headers reads them */
    uint32_t position;     /* index in the batch */
} dmq_message;

/* A position to consume from. */
typedef struct dmq_assignment {
    uint32_t size; /* sizeof(dmq_assignment) */
    int32_t partition;
    const char *topic;
    int64_t offset; /* an offset, or DMQ_OFFSET_*, or DMQ_OFFSET_TIMESTAMP with timestamp */
    int64_t timestamp;
} dmq_assignment;

/* A topic as the cluster describes it. Caller-owned; size must be set to sizeof(dmq_topic_info)
 * before the call. */
typedef struct dmq_topic_info {
    uint32_t size;
    int32_t partitions;
    int32_t replication_factor;
    char id[36]; /* 32 hexadecimal digits, terminated: another topic of the same name has another */
} dmq_topic_info;

enum {
    DMQ_PARTITION_AUTO =
        -1, /* by key if there is one, else sticky: all to one until its batch is full */
    DMQ_OFFSET_END = -1,
    DMQ_OFFSET_START = -2,
    DMQ_OFFSET_TIMESTAMP = -3 /* first record at or after .timestamp; the end if there is none */
};

/* ---- the library ----------------------------------------------------------------------------- */

/* "0.1.0". Static. */
DMQ_EXPORT const char *dmq_version(void);

/* "UNKNOWN_TOPIC_OR_PARTITION", its sentence and its DMQ_CLASS_*. Static; any number is answered.
 */
DMQ_EXPORT const char *dmq_error_name(dmq_err code);
DMQ_EXPORT const char *dmq_error_text(dmq_err code);
DMQ_EXPORT int32_t dmq_error_class(dmq_err code);

/* ---- client ---------------------------------------------------------------------------------- */

/* Connects to a cluster. url is "dmq://host[:port][,host[:port]]..."; NULL: $DMQ_URL, else
 * "dmq://127.0.0.1:9501". Waits until one broker has answered. DMQ_ERR_UNREACHABLE: all addresses
 * refused (told after half a second, however long timeout_ms is: who starts a cluster together with
 * the program opens again); DMQ_ERR_TIMEOUT: no answer. Options (defaults): client.id (dmq),
 * log.level (info; error, warn, debug). */
DMQ_EXPORT dmq_err dmq_client_open(const char *url, const dmq_option *options, size_t option_count,
                                   int64_t timeout_ms, dmq_client **ret_client, dmq_error *error);

/* The two halves of it, for who must not block or wants to be able to interrupt it. start makes the
 * client and returns at once; it connects by itself. wait returns as open does, but the client
 * stays open whatever it returns: call it again, or close. */
DMQ_EXPORT dmq_err dmq_client_start(const char *url, const dmq_option *options, size_t option_count,
                                    dmq_client **ret_client, dmq_error *error);
DMQ_EXPORT dmq_err dmq_client_wait(dmq_client *client, int64_t timeout_ms, dmq_error *error);

/* Ends the background thread and closes connections. Requests in flight are given up. */
DMQ_EXPORT void dmq_client_close(dmq_client *client);

/* Readable (poll, epoll, asyncio) while a delivery or a batch, or the failure of a client that gave
 * up, is there to be taken: poll every producer and consumer until it has none. With EPOLLET it
 * tells of each handle that has something after it had nothing, so that one which is left alone
 * keeps nobody from hearing of another. Owned by the client; never read or close it. */
DMQ_EXPORT int dmq_client_fd(dmq_client *client);

/* Makes every call that blocks on this client, now or next, return DMQ_ERR_INTERRUPTED once.
 * Async-signal-safe. */
DMQ_EXPORT void dmq_client_interrupt(dmq_client *client);

/* Library log lines (level 0 error to 3 debug) go to log, which is called on the background thread
 * and must not call the library. NULL: none, the default. */
DMQ_EXPORT void dmq_client_set_log(dmq_client *client,
                                   void (*log)(void *arg, int32_t level, const char *line),
                                   void *arg);

/* ---- admin ----------------------------------------------------------------------------------- */

/* Any admin operation, with the REST names in and out.
 *
 * json is an object, NULL for {}; a key that is not known is DMQ_ERR_INVALID_ARGUMENT with the
 * nearest one. *ret_json: a terminated JSON text, the caller's, to be freed by dmq_free. Later
 * versions add operations, and keys to what comes back.
 *
 *   op                 json in                                      json out
 *   create_topic       topicName, [partitionCount],                 the topic
 *                      [replicationFactor], [config {name: value}]
 *   delete_topic       topicName or topicId                         topicId
 *   alter_topic        topicName or topicId, config {name: value,   the topic
 *                      null: back to the default}
 *   create_partitions  topicName or topicId, partitionCount: how    the topic
 *                      many there are to be, all in all
 *   elect_leaders      topicName or topicId, [partition];           electedCount, notNeededCount,
 *                      or allTopics. [unclean, acceptDataLoss,      failedCount, leftCount,
 *                      [brokerId]]: gives what has no leader one    partitions: [{topicName,
 *                      that was not in sync; what only others       partition, error, message,
 *                      hold is lost                                 leader, formerLeader, unclean,
 *                                                                   lastInSync}]
 *   describe_topics    [topicNames]; none: all                      topics: [the topic]
 *   describe_config    topicName                                    settings: [{name, value,
 *                                                                   isDefault, defaultValue, type,
 *                                                                   help}]
 *   describe_cluster   {}                                           clusterId, clusterName, leader,
 *                                                                   brokers, controllers, counts of
 *                                                                   partitions, those that ail
 *   describe_quorum    {}                                           leader, term, version,
 *                                                                   controllers
 *   transfer_leader    controllerId                                 leader: who led before
 *   add_controller     controllerId                                 version
 *   remove_controller  controllerId                                 version
 *   metadata           [names], [allTopics]                         brokers, topics: what clients
 *                                                                   see
 *
 * The topic: topicName, topicId, partitionCount, replicationFactor, config, partitions [{partition,
 * leader, replicas, isr, leaderEpoch}].
 *
 * In flight: what fails retriably is asked for again until timeout_ms is over; so is what was not
 * answered, because it may be done twice without harm. Not so unclean elections and changes of the
 * controllers: they are sent once, and a lost answer is an error of the class maybe-done
 * (DMQ_ERR_NETWORK, _REQUEST_TIMED_OUT): see what is so before you ask again. Thread: any. Errors:
 * those of the cluster (DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, _INVALID_CONFIG, _INVALID_PARTITIONS,
 * ...); DMQ_ERR_TIMEOUT: maybe done; DMQ_ERR_INVALID_ARGUMENT: no such operation, or bad json. */
DMQ_EXPORT dmq_err dmq_admin(dmq_client *client, const char *op, const char *json,
                             int64_t timeout_ms, char **ret_json, dmq_error *error);
DMQ_EXPORT void dmq_free(void *memory);

/* partitions -1 and replication_factor -1: the cluster's defaults. config: topic settings.
 * DMQ_ERR_TOPIC_EXISTS, _INVALID_TOPIC, _INVALID_PARTITIONS, _INVALID_REPLICATION_FACTOR,
 * _INVALID_CONFIG. After DMQ_OK every broker finds the topic for this client. */
DMQ_EXPORT dmq_err dmq_topic_create(dmq_client *client, const char *topic, int32_t partitions,
                                    int32_t replication_factor, const dmq_option *config,
                                    size_t config_count, int64_t timeout_ms, dmq_error *error);

/* Sets single settings of a topic; a value of NULL takes one back to its default. The others stay.
 * All of it is done, or nothing. It takes effect on the brokers within moments, without a restart.
 * DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, _INVALID_CONFIG (min.insync.replicas above the replication
 * factor, too). */
DMQ_EXPORT dmq_err dmq_topic_alter(dmq_client *client, const char *topic, const dmq_option *config,
                                   size_t config_count, int64_t timeout_ms, dmq_error *error);

/* Makes the topic have `partitions` partitions, all in all: never fewer than it has, and as many as
 * it has is no error. Records stay where they are, but a key may lead to another partition from now
 * on. DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, _INVALID_PARTITIONS, _INVALID_REPLICATION_FACTOR (too few
 * brokers live). */
DMQ_EXPORT dmq_err dmq_topic_set_partitions(dmq_client *client, const char *topic,
                                            int32_t partitions, int64_t timeout_ms,
                                            dmq_error *error);

/* DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION. */
DMQ_EXPORT dmq_err dmq_topic_delete(dmq_client *client, const char *topic, int64_t timeout_ms,
                                    dmq_error *error);

/* What the cluster has committed of a topic; its settings, leaders and replicas are in dmq_admin's
 * "describe_topics". DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION. */
DMQ_EXPORT dmq_err dmq_topic_describe(dmq_client *client, const char *topic, int64_t timeout_ms,
                                      dmq_topic_info *ret_info, dmq_error *error);

/* Number of partitions, as the brokers know it: cheaper than dmq_topic_describe. */
DMQ_EXPORT dmq_err dmq_topic_partitions(dmq_client *client, const char *topic, int64_t timeout_ms,
                                        int32_t *ret_partitions, dmq_error *error);

/* The offset of partition that `offset` (DMQ_OFFSET_START, _END, _TIMESTAMP with timestamp) stands
 * for now. */
DMQ_EXPORT dmq_err dmq_topic_offset(dmq_client *client, const char *topic, int32_t partition,
                                    int64_t offset, int64_t timestamp, int64_t timeout_ms,
                                    int64_t *ret_offset, dmq_error *error);

/* ---- producer -------------------------------------------------------------------------------- */

/* Options (defaults): acks (all; also 0, 1), enable.idempotence (true; a retry never writes twice),
 * compression.type (none; lz4, zstd), linger.ms (0: a batch leaves when nothing of its partition is
 * in flight, and grows meanwhile), batch.size (524288 bytes), buffer.memory (67108864 bytes),
 * delivery.timeout.ms (120000), request.timeout.ms (30000), max.in.flight (5 batches per partition,
 * 1 to 5; without idempotence 1, for the order). Waits for nothing. */
DMQ_EXPORT dmq_err dmq_producer_open(dmq_client *client, const dmq_option *options,
                                     size_t option_count, dmq_producer **ret_producer,
                                     dmq_error *error);

/* Gives up what was not delivered: flush first. Deliveries not taken are lost. */
DMQ_EXPORT void dmq_producer_close(dmq_producer *producer);

/* Copies a record into a batch and returns; a full buffer blocks up to timeout_ms
 * (DMQ_ERR_BUFFER_FULL), as does the first record of an unknown topic. Records of one partition are
 * stored in the order in which they were sent, retries included. DMQ_ERR_BATCH_TOO_LARGE: the
 * record alone exceeds the topic's max.message.bytes. Deliveries that are not taken fill the
 * buffer, too: who sends with opaques calls dmq_producer_poll in between, or in another thread. */
DMQ_EXPORT dmq_err dmq_producer_send(dmq_producer *producer, const char *topic,
                                     const dmq_record *record, int64_t timeout_ms,
                                     dmq_error *error);

/* Learns what a topic consists of, which the first send to it would wait for; timeout_ms 0 only
 * tells whether that is known (else DMQ_ERR_BUFFER_FULL). It may be forgotten again: when the topic
 * is deleted. */
DMQ_EXPORT dmq_err dmq_producer_prepare(dmq_producer *producer, const char *topic,
                                        int64_t timeout_ms, dmq_error *error);

/* dmq_producer_send for count records, `stride` bytes apart, at one crossing. *ret_sent (may be
 * NULL; set on failure too) is how many were taken, in order. */
DMQ_EXPORT dmq_err dmq_producer_send_many(dmq_producer *producer, const char *topic,
                                          const dmq_record *records, size_t stride, size_t count,
                                          int64_t timeout_ms, size_t *ret_sent, dmq_error *error);

/* Sends one record and waits until it is stored as acks asks for. DMQ_ERR_TIMEOUT: maybe stored. */
DMQ_EXPORT dmq_err dmq_producer_send_wait(dmq_producer *producer, const char *topic,
                                          const dmq_record *record, int64_t timeout_ms,
                                          dmq_delivery *ret_delivery, dmq_error *error);

/* Takes up to `max` deliveries into an array whose elements are `stride` apart, waiting up to
 * timeout_ms for the first. Returns how many; 0 after an interrupt as well. */
DMQ_EXPORT size_t dmq_producer_poll(dmq_producer *producer, dmq_delivery *deliveries, size_t stride,
                                    size_t max, int64_t timeout_ms);

/* Sends what is buffered and waits until nothing is in flight. Fails with the first error of any
 * record since the last flush, whether it had an opaque or not; *ret_failed (may be NULL; set on
 * failure too) is how many records failed since then. DMQ_ERR_TIMEOUT: the sentence says why a
 * partition tries again, where one does; it goes on trying up to delivery.timeout.ms. */
DMQ_EXPORT dmq_err dmq_producer_flush(dmq_producer *producer, int64_t timeout_ms,
                                      uint64_t *ret_failed, dmq_error *error);

/* ---- consumer -------------------------------------------------------------------------------- */

/* Options (defaults): fetch.min.bytes (1), fetch.max.wait.ms (500), fetch.max.bytes (33554432),
 * max.partition.fetch.bytes (8388608), queued.max.bytes (33554432: what is fetched ahead),
 * check.crcs (true), auto.offset.reset (error; earliest, latest): what an offset that is not in the
 * log comes to. Where records that were read are lost (durability=async, or an unclean election),
 * error says so once, and the others go on where the log parts from what was read. */
DMQ_EXPORT dmq_err dmq_consumer_open(dmq_client *client, const dmq_option *options,
                                     size_t option_count, dmq_consumer **ret_consumer,
                                     dmq_error *error);
DMQ_EXPORT void dmq_consumer_close(dmq_consumer *consumer);

/* Replaces what is consumed. Positions by name or time are looked up within timeout_ms; on an error
 * the former assignment stays. Batches already taken stay valid. */
DMQ_EXPORT dmq_err dmq_consumer_assign(dmq_consumer *consumer, const dmq_assignment *assignments,
                                       size_t stride, size_t count, int64_t timeout_ms,
                                       dmq_error *error);

/* Goes on elsewhere in a partition that is assigned. What was fetched ahead is dropped. */
DMQ_EXPORT dmq_err dmq_consumer_seek(dmq_consumer *consumer, const dmq_assignment *to,
                                     int64_t timeout_ms, dmq_error *error);

/* Offset of the next record that fetch will give. */
DMQ_EXPORT dmq_err dmq_consumer_position(dmq_consumer *consumer, const char *topic,
                                         int32_t partition, int64_t *ret_offset, dmq_error *error);

/* The newest high watermark that the consumer has seen of a partition; -1: none yet. */
DMQ_EXPORT dmq_err dmq_consumer_high_watermark(dmq_consumer *consumer, const char *topic,
                                               int32_t partition, int64_t *ret_offset,
                                               dmq_error *error);

/* The next batch of any assigned partition; DMQ_ERR_TIMEOUT if none came. The caller owns it. An
 * error of a partition (DMQ_ERR_OFFSET_OUT_OF_RANGE, _CORRUPT_BATCH) is returned once and stops
 * that partition until a seek; retriable errors are retried inside. */
DMQ_EXPORT dmq_err dmq_consumer_fetch(dmq_consumer *consumer, int64_t timeout_ms,
                                      dmq_batch **ret_batch, dmq_error *error);

/* ---- batch ----------------------------------------------------------------------------------- */

DMQ_EXPORT dmq_batch *dmq_batch_ref(dmq_batch *batch);
DMQ_EXPORT void dmq_batch_unref(dmq_batch *batch);
DMQ_EXPORT const char *dmq_batch_topic(const dmq_batch *batch); /* lives as long as the batch */
DMQ_EXPORT int32_t dmq_batch_partition(const dmq_batch *batch);
DMQ_EXPORT size_t dmq_batch_count(const dmq_batch *batch);
DMQ_EXPORT int64_t dmq_batch_high_watermark(const dmq_batch *batch);

/* All records of the batch, *ret_stride bytes apart; they live as long as the batch. */
DMQ_EXPORT const dmq_message *dmq_batch_messages(const dmq_batch *batch, size_t *ret_stride);

/* Up to `max` headers of the message at `position` into headers, `stride` apart. Returns how many.
 */
DMQ_EXPORT size_t dmq_batch_headers(const dmq_batch *batch, uint32_t position, dmq_header *headers,
                                    size_t stride, size_t max);

#ifdef __cplusplus
}
#endif

#endif
