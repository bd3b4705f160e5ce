/* Raft's effects and state as lines, for scripts and for the simulator's trace. A node is written
 * as its number; with another than its first disk as "2.3", the third disk of node 2. */
#ifndef TESTS_SUPPORT_RAFT_TEXT_H
#define TESTS_SUPPORT_RAFT_TEXT_H

#include "controller/raft/raft.h"

struct raft_text {
    char text[4096];
    size_t size;
};

__attribute__((format(printf, 2, 3))) void raft_text_add(struct raft_text *t, const char *format,
                                                         ...);
void raft_text_id(struct raft_text *t, struct raft_id id);
void raft_text_members(struct raft_text *t, const struct raft_members *members);
void raft_text_message(struct raft_text *t, const struct raft_message *message);
void raft_text_effect(struct raft_text *t, const struct raft *raft,
                      const struct raft_effect *effect);
void raft_text_state(struct raft_text *t, const struct raft *raft);
const char *raft_result_name(enum raft_result result);

#endif
