/* The one table of errors: the same numbers inside the daemons, on the wire, in this ABI, and as
 * classes under dmq.Error in Python. Numbers below 1000 are those of Kafka's protocol, where it has
 * the error; ours start at 1000. Numbers are never reused.
 *
 * Who adds a row runs tests/python/test_types.py, which lists the classes for type checkers.
 *
 * X(NAME, number, class, text): the text says what happened; the sentence that comes with a
 * particular error (struct dmq_error) adds where and what to do. */
#ifndef DMQ_ERRORS_H
#define DMQ_ERRORS_H

#include <stdint.h>

typedef int32_t dmq_err;

/* What a caller may do about an error. */
enum {
    DMQ_CLASS_NONE = 0,
    DMQ_CLASS_RETRIABLE = 1,  /* surely not done; the same call may succeed later */
    DMQ_CLASS_FATAL = 2,      /* surely not done; the same call will fail again */
    DMQ_CLASS_MAYBE_DONE = 3, /* may have been done: only an idempotent retry is safe */
    DMQ_CLASS_ABORT = 4       /* the transaction must be aborted */
};

#define DMQ_ERROR_MAP(X)                                                                           \
    X(OK, 0, NONE, "success")                                                                      \
    X(UNKNOWN, -1, MAYBE_DONE, "unexpected error on the server")                                   \
    X(OFFSET_OUT_OF_RANGE, 1, FATAL, "offset is not in the log")                                   \
    X(CORRUPT_BATCH, 2, FATAL, "record batch is damaged: checksum or structure is wrong")          \
    X(UNKNOWN_TOPIC_OR_PARTITION, 3, RETRIABLE, "topic or partition does not exist")               \
    X(LEADER_NOT_AVAILABLE, 5, RETRIABLE, "partition has no leader at the moment")                 \
    X(NOT_LEADER, 6, RETRIABLE, "broker does not lead the partition")                              \
    X(REQUEST_TIMED_OUT, 7, MAYBE_DONE, "request timed out on the server")                         \
    X(BATCH_TOO_LARGE, 10, FATAL, "record batch is larger than max.message.bytes")                 \
    X(NETWORK, 13, MAYBE_DONE, "connection ended before the answer came")                          \
    X(INVALID_TOPIC, 17, FATAL, "topic name is not valid")                                         \
    X(NOT_ENOUGH_REPLICAS, 19, RETRIABLE, "fewer replicas in sync than min.insync.replicas")       \
    X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, MAYBE_DONE,                                            \
      "written, but fewer replicas in sync than min.insync.replicas")                              \
    X(INVALID_ACKS, 21, FATAL, "acks must be 0, 1 or all")                                         \
    X(TOPIC_DENIED, 29, FATAL, "not authorised for the topic")                                     \
    X(CLUSTER_DENIED, 31, FATAL, "not authorised for the cluster")                                 \
    X(INVALID_TIMESTAMP, 32, FATAL, "timestamp is out of range")                                   \
    X(UNSUPPORTED_VERSION, 35, FATAL, "version of the request is not supported")                   \
    X(TOPIC_EXISTS, 36, FATAL, "topic exists already")                                             \
    X(INVALID_PARTITIONS, 37, FATAL, "number of partitions is not valid")                          \
    X(INVALID_REPLICATION_FACTOR, 38, FATAL, "replication factor is not possible")                 \
    X(INVALID_CONFIG, 40, FATAL, "setting is unknown or its value is not valid")                   \
    X(NOT_CONTROLLER, 41, RETRIABLE, "node is not the leading controller")                         \
    X(INVALID_REQUEST, 42, FATAL, "request is malformed")                                          \
    X(POLICY_VIOLATION, 44, FATAL, "request exceeds a limit of the cluster")                       \
    X(OUT_OF_ORDER_SEQUENCE, 45, FATAL, "sequence number of the producer has a gap")               \
    X(DUPLICATE_SEQUENCE, 46, FATAL, "sequence is older than the batches remembered")              \
    X(INVALID_PRODUCER_EPOCH, 47, FATAL, "a newer instance of the producer is active")             \
    X(STORAGE, 56, RETRIABLE, "disk of the broker failed: its data folder is offline")             \
    X(UNKNOWN_PRODUCER_ID, 59, FATAL, "producer id is unknown at the partition")                   \
    X(FENCED_LEADER_EPOCH, 74, RETRIABLE, "leader epoch is older than the broker's")               \
    X(UNKNOWN_LEADER_EPOCH, 75, RETRIABLE, "leader epoch is newer than the broker's")              \
    X(UNSUPPORTED_COMPRESSION, 76, FATAL, "compression must be none, lz4 or zstd")                 \
    X(STALE_BROKER_EPOCH, 77, FATAL, "a newer registration of the broker exists")                  \
    X(PREFERRED_LEADER_NOT_AVAILABLE, 80, RETRIABLE, "first replica is not in sync or not live")   \
    X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, RETRIABLE, "no replica that may lead is live")           \
    X(ELECTION_NOT_NEEDED, 84, FATAL, "partition has the leader that was asked for")               \
    X(THROTTLED, 89, RETRIABLE, "over the limit of requests or bytes in flight")                   \
    X(INVALID_UPDATE_VERSION, 95, RETRIABLE, "partition has changed since it was looked at")       \
    X(UNKNOWN_TOPIC_ID, 100, RETRIABLE, "topic id does not exist")                                 \
    X(DUPLICATE_BROKER, 101, RETRIABLE, "another process has the broker's id")                     \
    X(BROKER_ID_NOT_REGISTERED, 102, RETRIABLE, "broker is not registered")                        \
    X(INCONSISTENT_CLUSTER_ID, 104, FATAL, "node belongs to another cluster")                      \
    X(INELIGIBLE_REPLICA, 107, RETRIABLE, "replica may not be in the in-sync replicas")            \
    X(DUPLICATE_VOTER, 126, RETRIABLE, "another disk holds the controller's seat")                 \
    X(VOTER_NOT_FOUND, 127, FATAL, "controller has no seat in the quorum")                         \
    X(NOMEM, 1000, FATAL, "out of memory")                                                         \
    X(TIMEOUT, 1001, MAYBE_DONE, "no answer within the time given")                                \
    X(UNREACHABLE, 1002, RETRIABLE, "no broker could be reached")                                  \
    X(CLOSED, 1003, FATAL, "handle is closed")                                                     \
    X(INVALID_ARGUMENT, 1004, FATAL, "argument is not valid")                                      \
    X(BUFFER_FULL, 1005, RETRIABLE, "send buffer is full")                                         \
    X(INTERRUPTED, 1006, RETRIABLE, "interrupted by a signal")                                     \
    X(FORKED, 1007, FATAL, "handle was opened before fork(): open a new one in the child")         \
    X(WRONG_NODE, 1008, RETRIABLE, "another node answered at this address")                        \
    X(DISK_FULL, 1009, RETRIABLE, "disk of the broker is full: produce is refused")                \
    X(DAMAGED, 1010, FATAL, "stored data is damaged")                                              \
    X(IO, 1011, FATAL, "input or output failed")                                                   \
    X(LOCKED, 1012, FATAL, "data folder is in use by another process")                             \
    X(STALE_METADATA, 1013, RETRIABLE, "metadata range does not follow what is applied")           \
    X(END, 1014, NONE, "end of the partition")                                                     \
    X(DELIVERY_TIMEOUT, 1015, FATAL, "record expired before it was sent")                          \
    X(CANCELLED, 1016, RETRIABLE, "request was cancelled because the node stops")                  \
    X(MAYBE_WRITTEN, 1017, MAYBE_DONE, "written, but not known to be safe")

#define DMQ_ERROR_ENUM(name, number, cls, text) DMQ_ERR_##name = (number),
enum { DMQ_ERROR_MAP(DMQ_ERROR_ENUM) DMQ_ERR_LAST_ };
#undef DMQ_ERROR_ENUM
#define DMQ_OK 0

#endif
