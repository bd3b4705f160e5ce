/* What must hold of a partition, whatever happened, looked at with the eyes of somebody who sees
 * all disks at once. replica_sim and dmq-sim hold their replicas against it after every event.
 *
 *     struct partition_watch *watch = partition_watch_new(&disks, places);
 *     partition_watch_image(watch, &image);       each version of its record
 *     partition_watch_replica(watch, &replica);   after an event of a replica
 *     partition_watch_failure(watch)              NULL, or the first thing that did not hold
 *
 * A log is a row of entries (a record, or a batch), none of which ever lies in two ways.
 *
 * An unclean election that was asked for begins another history: what its leader has durably, at
 * that moment, stays committed; what else was is given up. Whoever is not in the ISR since then may
 * hold the former history, and believe in it, until it joins. From then on all is as strict. */
#ifndef TESTS_SIM_PARTITION_WATCH_H
#define TESTS_SIM_PARTITION_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCH_PLACES 16 /* of replicas: bits of a set */
#define WATCH_GHOST 16  /* added to a place: what its disk held before it was emptied */

struct watch_entry {
    int64_t base; /* offset of its first record */
    int64_t end;
    int32_t epoch; /* of the leader that gave it its place */
    uint64_t value;
};

enum watch_part {
    WATCH_SYNCED, /* what is left after the worst crash */
    WATCH_ALL     /* what was appended */
};

/* How the logs are read. */
struct watch_disks {
    void *arg;

    /* The entry of a log that holds offset, or the first one if the log begins further on (one
     * without length if it holds nothing); false: there is none, or it cannot be told. */
    bool (*read)(void *arg, int place, enum watch_part part, int64_t offset,
                 struct watch_entry *ret_entry);

    /* Another number whenever something may have been taken from the log. */
    uint64_t (*generation)(void *arg, int place);

    /* The disk that is in this place is not the one that the image speaks of. */
    bool (*is_other)(void *arg, int place);
};

/* What the controllers have decided. Sets are bits by place. */
struct watch_image {
    int leader; /* -1: none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    int min_isr;
    uint64_t replicas;
    uint64_t isr;
    uint64_t elr;
    uint64_t live; /* registered, and not fenced since */
    bool async;    /* of the partition */
    bool may_lose; /* an unclean election of it was asked for */
};

struct watch_replica {
    int place;
    uint64_t life; /* of its process */
    bool leads;
    bool async; /* ends count for it, not synced ends */
    int32_t leader_epoch;
    int64_t start;
    int64_t end;
    int64_t synced_end;
    int64_t high_watermark;
};

struct partition_watch;

struct partition_watch *partition_watch_new(const struct watch_disks *disks, int places);
void partition_watch_free(struct partition_watch *watch);

void partition_watch_image(struct partition_watch *watch, const struct watch_image *image);
void partition_watch_replica(struct partition_watch *watch, const struct watch_replica *replica);

/* Two logs are equal up to the last offset at which they have the same epoch. */
void partition_watch_match(struct partition_watch *watch, int a, int b);

/* Whether the log in this place holds, durably, all that is committed. */
bool partition_watch_holds_all(struct partition_watch *watch, int place);

/* Reads everything again. */
void partition_watch_all(struct partition_watch *watch);

const char *partition_watch_failure(const struct partition_watch *watch);

/* Records below were safe at some time, and so are for ever. */
int64_t partition_watch_committed(const struct partition_watch *watch);

/* Unclean elections that were seen. With that of number `count` - 1 a history began that has what
 * was committed below `end` and nothing else, in this epoch. */
struct watch_cut {
    int64_t end;
    int32_t epoch;
    int64_t given_up; /* batches that were committed */
};
size_t partition_watch_cuts(const struct partition_watch *watch, struct watch_cut *ret_last);

/* No log begins further on. */
int64_t partition_watch_start(const struct partition_watch *watch);

#endif
