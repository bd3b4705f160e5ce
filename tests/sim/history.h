/* What the clients of a run did and saw: one list, judged by checker.h, written as lines of JSON.
 *
 * A send is invoked and later ok (stored at an offset), fail (surely not stored) or info (unknown).
 * A poll is what one batch of a partition brought. */
#ifndef TESTS_SIM_HISTORY_H
#define TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum history_outcome { HISTORY_INVOKED, HISTORY_OK, HISTORY_FAIL, HISTORY_INFO };

/* Every value is sent once: its number says by whom, in which order, and where to. */
struct history_send {
    int process;
    int topic;
    int partition;
    uint64_t value;
    int64_t offset; /* OK with a known offset; else -1 */
    enum history_outcome outcome;
    int32_t epoch; /* OK: of the leader that acknowledged it; 0: the first, or not known */
};

struct history_poll {
    int process;
    int topic;
    int partition;
    int64_t offset;
    uint64_t value;
    bool from_start; /* the first of a reader that began at the start of the log */
    bool back;       /* the first since it was told that what it has read from here on is gone */
    int32_t epoch;   /* of the leader that gave it its offset; 0: the first, or not known */
};

/* Where the log of a partition begins in the end: retention has taken what lies below. */
struct history_start {
    int topic;
    int partition;
    int64_t offset;
};

/* A leader of a partition was elected uncleanly, to this epoch: what earlier epochs have from this
 * offset on may be lost, and other values may come in its place. All sends and polls of such a
 * partition say of which epoch they are. */
struct history_cut {
    int topic;
    int partition;
    int64_t offset;
    int32_t epoch;
};

struct history {
    struct history_send *sends;
    size_t send_count;
    size_t send_capacity;
    struct history_poll *polls; /* in the order in which each process saw them */
    size_t poll_count;
    size_t poll_capacity;
    size_t drain_begins; /* no earlier poll belongs to the drain, though its process read */
    struct history_start *starts; /* of partitions whose log does not begin at 0 */
    size_t start_count;
    size_t start_capacity;
    struct history_cut *cuts; /* in order of epochs */
    size_t cut_count;
    size_t cut_capacity;
};

void history_deinit(struct history *history);

/* Returns the index of the send. */
size_t history_invoke(struct history *history, const struct history_send *send);
void history_poll(struct history *history, const struct history_poll *poll);
void history_begin(struct history *history, const struct history_start *start);
void history_cut(struct history *history, const struct history_cut *cut);

/* One operation a line. */
void history_write(const struct history *history, FILE *file);

/* Reads what history_write wrote; false, with the line's number, at the first that is malformed. */
bool history_read(struct history *history, FILE *file, size_t *ret_line);

#endif
