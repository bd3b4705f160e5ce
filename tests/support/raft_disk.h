/* What a controller's disk holds of Raft, in memory: writes are atomic; one that was not carried
 * out never was. And copies of messages, which a step only lends. */
#ifndef TESTS_SUPPORT_RAFT_DISK_H
#define TESTS_SUPPORT_RAFT_DISK_H

#include "controller/raft/raft.h"

struct raft_disk {
    int64_t term;
    struct raft_id vote;
    int64_t commit;
    struct raft_snapshot snapshot;
    int64_t prev_index;
    int64_t prev_term;
    struct raft_entry *entries;
    int64_t count;
};

/* A node's id with its nth disk, from 1. */
struct raft_id raft_test_id(int32_t node, int generation);
int raft_test_generation(struct raft_id id);

void raft_disk_deinit(struct raft_disk *disk);

/* Appends; for a disk that a test begins with. */
void raft_disk_append(struct raft_disk *disk, const struct raft_entry *entry);

/* Carries a write out. Aborts if it does not fit what the disk holds: a hole in the log. */
void raft_disk_write(struct raft_disk *disk, const struct raft_persist *write);

/* A view for raft_init. */
struct raft_saved raft_disk_saved(const struct raft_disk *disk);

/* -1: not on the disk. */
int64_t raft_disk_term_at(const struct raft_disk *disk, int64_t index);

struct raft_message *raft_message_copy(const struct raft_message *message);
void raft_message_free(struct raft_message *message);

#endif
