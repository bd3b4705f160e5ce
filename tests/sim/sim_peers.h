/* Other brokers beside the one that is simulated, as far as it can see them: the test decides what
 * they say, and whether they say it. The same for the controller where the ISR is concerned. */
#ifndef TESTS_SIM_SIM_PEERS_H
#define TESTS_SIM_SIM_PEERS_H

#include "broker/core/partition.h"
#include "tests/sim/sim_client.h"

/* Brokers 102 and 103 are registered and live; what is sent to them is kept from now on. */
void sim_peers_begin(struct sim_broker *sim);

/* The epoch of another broker's registration. */
int64_t sim_peers_epoch(struct sim_broker *sim, int32_t broker_id);

/* One registers again: with a newer epoch. */
void sim_peers_restart(struct sim_broker *sim, int32_t broker_id);

/* A topic of one partition on 101, 102 and 103, min ISR 2, in leader epoch 5; in_sync of these. Its
 * segments are small. */
struct uuid sim_peers_topic(struct sim_broker *sim, int32_t leader, uint32_t in_sync);

/* The partition's leader and ISR are others now; a new leader begins a new leader epoch. */
void sim_peers_change(struct sim_broker *sim, struct uuid topic_id, int32_t leader,
                      const int32_t *isr, uint32_t isr_count);

/* The connection to another broker. */
void sim_peers_link(struct sim_broker *sim, int32_t broker_id, bool up);

/* The oldest request of that api to others that was not taken yet, decoded into the arena. Its
 * tag; 0: there is none. */
int64_t sim_peers_take(struct sim_broker *sim, int api_key, struct arena *arena, void *ret_request);

/* The answer to a fetch, or the header's error. Attachments are taken. */
void sim_peers_answer(struct sim_broker *sim, int64_t tag, dmq_err err,
                      const struct fetch_response *body, struct buf **attachments, size_t count);

/* What became of an ALTER_PARTITION. */
void sim_peers_decide(struct sim_broker *sim, int64_t tag, dmq_err err);

/* A batch of count records as a leader has stamped it. */
struct buf *sim_peers_batch(int64_t base_offset, int32_t leader_epoch, int32_t count);

struct partition *sim_peers_partition(struct sim_broker *sim, struct uuid topic_id);

#endif
