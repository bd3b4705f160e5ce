/* Whoever was elected in the place of a broker that went leads on when it is back: without more,
 * the brokers that never failed would lead everything in the end. So now and then leaderships go
 * back to the first replica of each partition, where it is live and in sync (Kafka's auto leader
 * rebalance). A move costs its partition's clients one refresh of metadata, hence few in a round:
 * the next round comes soon where there are more, and after the whole interval where not. */
#include "controller/core/ctl.h"

#define MOVES_A_ROUND 100
#define NEXT_ROUND_MS 1000

void
rebalance_begin(struct ctl *ctl)
{
    int64_t interval = ctl->config.rebalance_ms;
    ctl->rebalance_due_ms = interval > 0 ? ctl->now_ms + interval : INT64_MAX;
    ctl->rebalance = false;
}

int64_t
rebalance_deadline(const struct ctl *ctl)
{
    return ctl->leading ? ctl->rebalance_due_ms : INT64_MAX;
}

/* An entry may be on its way just now: then this waits for the next one, but no tick is due for
 * it. */
void
rebalance_tick(struct ctl *ctl)
{
    if (rebalance_deadline(ctl) <= ctl->now_ms) {
        ctl->rebalance_due_ms = INT64_MAX;
        ctl->rebalance = true;
    }
}

void
rebalance_decide(struct ctl *ctl)
{
    int moves = 0;
    if (!ctl->rebalance) {
        return;
    }
    for (uint32_t i = 0; i < image_topic_count(ctl->image); i++) {
        uint32_t partitions = image_topic_at(ctl->image, i)->partition_count;
        for (uint32_t k = 0; k < partitions && moves < MOVES_A_ROUND; k++) {
            moves += change_prefer(ctl, image_topic_at(ctl->image, i)->partitions[k]) == DMQ_OK;
        }
    }
    ctl->stats.leaders_restored += moves;
    if (moves > 0) {
        ctl_log(ctl, false, "leaders_restored count=%d", moves);
    }
    ctl->rebalance = false;
    ctl->rebalance_due_ms =
        ctl->now_ms + (moves == MOVES_A_ROUND ? NEXT_ROUND_MS : ctl->config.rebalance_ms);
}
