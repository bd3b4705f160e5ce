/* What the Python binding does in C, so that Python crosses into C once for many records. Compiled
 * into dmq._native; declared to cffi from this file. cffi lets go of the GIL around every call. */
#ifndef DMQPY_HELPERS_H
#define DMQPY_HELPERS_H

#include <stddef.h>
#include <stdint.h>

#include "dmq/dmq.h"

/* Folder of the programs that belong to the library. */
const char *dmqpy_programs(void);

/* ---- futures --------------------------------------------------------------------------------- */

/* What a future waits for: one record, or all of a send_many. Its address is the opaque of its
 * records, so that a delivery finds it without a table: whoever owns its memory keeps it until it
 * is done. */
typedef struct dmqpy_slot {
    int64_t pending; /* records not delivered yet; 0: done */
    int64_t failed;
    int64_t offset;    /* of the record delivered last */
    int64_t timestamp; /* likewise */
    int32_t partition; /* likewise */
    int32_t code;      /* of the first that failed */
} dmqpy_slot;

/* A producer as the binding uses it. It takes deliveries for all threads that wait: one of them
 * polls, the others wait for it, and it hands over when its own are there. Closing it waits for
 * calls that other threads are in; calls that come later say DMQ_ERR_CLOSED or 0; in a forked
 * child, DMQ_ERR_FORKED or 0. */
typedef struct dmqpy_poller dmqpy_poller;

/* Owns the producer from then on. NULL: out of memory; the producer is still the caller's.
 * is_async: nothing is delivered but by dmqpy_take. */
dmqpy_poller *dmqpy_poller_new(dmq_producer *producer, int is_async);
void
dmqpy_poller_close(dmqpy_poller *poller); /* once; everything but free may be called after it */
void dmqpy_poller_free(dmqpy_poller *poller);

/* Takes what was delivered, without waiting; returns how many. */
size_t dmqpy_poll(dmqpy_poller *poller);

/* Whether the slot is done, after at most timeout_ms. */
int dmqpy_wait(dmqpy_poller *poller, const dmqpy_slot *slot, int64_t timeout_ms);

int dmqpy_is_done(const dmqpy_slot *slot);

/* Fresh slots: not done, although nothing is sent yet, so that they are not taken for unused. */
void dmqpy_reserve(dmqpy_slot *slots, size_t count);

/* Whether any of count slots is not done. */
int dmqpy_has_pending(const dmqpy_slot *slots, size_t count);

/* ---- sending --------------------------------------------------------------------------------- */

/* A topic as one producer sends to it. */
typedef struct dmqpy_route {
    dmqpy_poller *poller;
    const char *topic;
} dmqpy_route;

/* Sends one record without waiting. slot is the address of its dmqpy_slot, which is reserved: a
 * number is what Python reckons with fastest. A size of -1: null. On an error the slot is as it
 * was: the caller tries again or abandons it. Takes deliveries now and then, so that they do not
 * pile up. */
dmq_err dmqpy_send(const dmqpy_route *route, uintptr_t slot, const char *key, int64_t key_size,
                   const char *value, int64_t value_size);

/* The same for a record that has more than that, and with a wait. Sets its size and opaque. */
dmq_err dmqpy_send_record(const dmqpy_route *route, uintptr_t slot, dmq_record *record,
                          int64_t timeout_ms, dmq_error *error);

/* Records packed by Python: values back to back, and how long each is (-1: null); keys likewise. */
typedef struct dmqpy_packed {
    size_t count;
    const char *values;
    const int32_t *value_sizes;
    const char *keys;
    const int32_t *key_sizes; /* NULL: no record has a key */
    int32_t partition;
    /* How far it is sent: dmqpy_send_packed goes on from here. */
    size_t sent;
    size_t value_pos;
    size_t key_pos;
} dmqpy_packed;

/* Sends what is left of packed; slot->pending counts all of packed from the first call on. */
dmq_err dmqpy_send_packed(const dmqpy_route *route, dmqpy_slot *slot, dmqpy_packed *packed,
                          int64_t timeout_ms, dmq_error *error);

/* ---- sending without blocking ----------------------------------------------------------------

 * Of an is_async poller. The opaque of a single record is an odd number; of a send_many the address
 * of its slot, which is even. One thread. */

dmq_err dmqpy_post(const dmqpy_route *route, uint64_t number, const char *key, int64_t key_size,
                   const char *value, int64_t value_size);

dmq_err dmqpy_post_record(const dmqpy_route *route, uint64_t number, dmq_record *record,
                          dmq_error *error);

/* Takes up to `max` of what was delivered: single records, and each slot that is done thereby, with
 * the code of its first that failed. Fewer than `max`: there is no more. */
size_t dmqpy_take(dmqpy_poller *poller, dmq_delivery *ret_done, size_t max);

/* Whether sends to the topic need not wait for what it consists of; `wait`: until that is known. */
dmq_err dmqpy_prepare(const dmqpy_route *route, int64_t timeout_ms, dmq_error *error);

/* dmq_producer_flush. */
dmq_err dmqpy_flush(dmqpy_poller *poller, int64_t timeout_ms, uint64_t *ret_failed,
                    dmq_error *error);

/* Gives up `count` records of a slot that were never sent. */
void dmqpy_abandon(dmqpy_slot *slot, int64_t count, dmq_err code);

/* ---- reading --------------------------------------------------------------------------------- */

/* Some messages of a batch: count of them, beginning at from. */
typedef struct dmqpy_part {
    const dmq_batch *batch;
    size_t from;
    size_t count;
} dmqpy_part;

/* Bytes of the values together (is_key: of the keys). *ret_each: the size of each, if they all have
 * the same and none is null; else -1. */
size_t dmqpy_bytes_size(const dmqpy_part *part, int is_key, int64_t *ret_each);

/* Copies them back to back, with where each ends (negative, less 1: it is null, and ends there).
 * Returns how many are null. */
size_t dmqpy_bytes_copy(const dmqpy_part *part, int is_key, char *ret_data, int32_t *ret_ends);

void dmqpy_offsets(const dmqpy_part *part, int64_t *ret_offsets);
void dmqpy_timestamps(const dmqpy_part *part, int64_t *ret_timestamps);

/* One message of a batch. */
const dmq_message *dmqpy_message(const dmq_batch *batch, size_t index);

#endif
