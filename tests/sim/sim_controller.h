/* The controller as one broker sees it, for tests of a broker alone: it registers, fences,
 * unfences, elects and pushes as the real one does, but decides only what the test tells it. */
#ifndef TESTS_SIM_SIM_CONTROLLER_H
#define TESTS_SIM_SIM_CONTROLLER_H

#include "broker/core/core.h"
#include "libdmq/meta/entry.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"

#define SIM_MAX_ENTRIES 4096

struct sim_controller {
    int32_t id; /* under which it leads: of several that share what is decided */
    struct image *image;
    struct uuid cluster_id;
    struct {
        struct outbuf bytes; /* encoded records, back to back */
        size_t sizes[64];    /* of each */
        uint32_t count;
    } entries[SIM_MAX_ENTRIES]; /* entries[v] is version v + 1 */
    int64_t next_producer_id;
};

struct sim_controller *sim_controller_new(void);
void sim_controller_free(struct sim_controller *ctl);

/* Any record, into the entry that sim_controller_commit ends. */
void sim_controller_add(struct sim_controller *ctl, int type, const void *body);
void sim_controller_commit(struct sim_controller *ctl);

/* Adds a topic whose partitions broker_id replicates alone, and leads if it is unfenced. */
struct uuid sim_controller_create_topic(struct sim_controller *ctl, int32_t broker_id,
                                        const char *name, int32_t partitions,
                                        const struct config_entry *config, uint32_t config_count);
/* Gives a topic other settings; new_epoch: in a new leader epoch, as durability=sync needs. */
void sim_controller_alter_topic(struct sim_controller *ctl, struct uuid topic_id,
                                const struct config_entry *config, uint32_t config_count,
                                bool new_epoch);
void sim_controller_delete_topic(struct sim_controller *ctl, struct uuid topic_id);

/* Answers a request of the broker: the frames of the response, to be freed by the caller. */
void sim_controller_answer(struct sim_controller *ctl, const struct brk_effect *send,
                           struct buf *ret_frames[2]);

/* The body of a push of everything after `applied`, or NULL if there is nothing new. */
struct buf *sim_controller_push(struct sim_controller *ctl, int64_t applied);

/* Tells the controller what a broker has applied: unfences it when that covers its registration. */
void sim_controller_applied(struct sim_controller *ctl, int32_t broker_id, int64_t version);

#endif
