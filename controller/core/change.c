/* How partitions change when a broker comes or goes (KIP-966 for the ELR).
 *
 * - A broker that is not live is in no ISR (trap 18). It leaves at once; what it may still be good
 *   for is kept in the ELR: members of the ISR that left when it was at or below min ISR hold every
 *   record that was acknowledged, and so may lead again.
 * - |ISR| >= min ISR empties the ELR: from then on records are acknowledged without its members.
 * - Whoever leads afterwards, the end of a leadership raises the leader epoch; each change raises
 * the
 *   partition epoch. */
#include "controller/core/ctl.h"

/* ---- sets of brokers ------------------------------------------------------------------------- */

static bool
has(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void
drop(int32_t *ids, uint32_t *count, int32_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (ids[i] != id) {
            ids[kept++] = ids[i];
        }
    }
    *count = kept;
}

bool
broker_is_live(const struct image *image, int32_t broker_id)
{
    const struct broker_record *broker = image_broker(image, broker_id);
    return broker != NULL && !broker->fenced && !broker->shutting_down;
}

/* ---- one partition --------------------------------------------------------------------------- */

/* A partition that is being changed: a copy whose ISR and ELR have room. */
struct draft {
    struct partition_record record;
    int32_t isr[META_MAX_REPLICAS];
    int32_t elr[META_MAX_REPLICAS];
};

static void
draft_init(struct draft *draft, const struct partition_record *from)
{
    DMQ_ASSERT(from->isr_count <= META_MAX_REPLICAS && from->elr_count <= META_MAX_REPLICAS);
    draft->record = *from;
    for (uint32_t i = 0; i < from->isr_count; i++) {
        draft->isr[i] = from->isr[i];
    }
    for (uint32_t i = 0; i < from->elr_count; i++) {
        draft->elr[i] = from->elr[i];
    }
    draft->record.isr = draft->isr;
    draft->record.elr = draft->elr;
}

/* The partition epoch rises with every change: it is what a leader's own changes compare with
 * (trap 13). */
static void
draft_propose(struct ctl *ctl, struct draft *draft)
{
    struct partition_record *p = &draft->record;
    if (p->isr_count >= (uint32_t)p->min_isr) {
        p->elr_count = 0;
    }
    p->partition_epoch++;
    DMQ_ASSERT(p->leader == -1 || has(p->isr, p->isr_count, p->leader));
    ctl_propose(ctl, RECORD_PARTITION, p);
}

/* The first replica that is live and in the set, so that the preferred leader wins; -1 if there is
 * none. */
static int32_t
first_live(const struct image *image, const struct partition_record *p, const int32_t *set,
           uint32_t count)
{
    for (uint32_t i = 0; i < p->replicas_count; i++) {
        if (has(set, count, p->replicas[i]) && broker_is_live(image, p->replicas[i])) {
            return p->replicas[i];
        }
    }
    return -1;
}

/* Gives a partition without a leader one: from the ISR, else from the ELR. Never from elsewhere: it
 * may lack what was acknowledged (unclean election is off, trap 19). */
static void
elect(const struct image *image, struct draft *draft)
{
    struct partition_record *p = &draft->record;
    DMQ_ASSERT(p->leader == -1);
    p->leader = first_live(image, p, p->isr, p->isr_count);
    if (p->leader == -1) {
        p->leader = first_live(image, p, p->elr, p->elr_count);
        if (p->leader == -1) {
            return;
        }
        /* Members of the ISR that are not live are none. */
        p->isr[0] = p->leader;
        p->isr_count = 1;
        drop(p->elr, &p->elr_count, p->leader);
    }
}

/* Whether what the broker has may still be the best that there is. The last copy always is, unless
 * it is known to be gone: what async promises, and better than nothing where it is damaged. */
static bool
keeps_place(const struct partition_record *p, enum leave leave)
{
    bool last = p->isr_count + p->elr_count == 1;
    switch (leave) {
    case LEAVE_FENCED:
        return true;
    case LEAVE_UNCLEAN:
        return last || p->durability == DURABILITY_SYNC;
    case LEAVE_DAMAGED:
        return last;
    case LEAVE_EMPTY:
        return false;
    }
    DMQ_UNREACHABLE();
}

/* Takes the broker out of one partition; true if that changes it. A leadership that ends raises the
 * leader epoch even if nobody follows: a process that still believes in it is then behind
 * everywhere (trap 14a). */
static bool
leave_partition(const struct image *image, struct draft *draft, int32_t broker_id, enum leave leave)
{
    struct partition_record *p = &draft->record;
    bool in_isr = has(p->isr, p->isr_count, broker_id);
    bool in_elr = has(p->elr, p->elr_count, broker_id);
    bool keeps = keeps_place(p, leave);
    if (!in_isr && (!in_elr || keeps)) {
        DMQ_ASSERT(p->leader != broker_id);
        return false;
    }
    drop(p->isr, &p->isr_count, broker_id);
    if (!keeps) {
        drop(p->elr, &p->elr_count, broker_id);
    } else if (p->isr_count < (uint32_t)p->min_isr) {
        DMQ_ASSERT(p->elr_count < META_MAX_REPLICAS);
        p->elr[p->elr_count++] = broker_id;
    }
    if (p->leader == broker_id) {
        p->leader = -1;
        p->leader_epoch++;
        elect(image, draft);
    }
    return true;
}

/* ---- all partitions -------------------------------------------------------------------------- */

/* Calls change on a draft of each partition that the broker stores and proposes what it changed. */
static void
change_all(struct ctl *ctl, int32_t broker_id,
           bool (*change)(const struct image *image, struct draft *draft, int32_t broker_id,
                          int arg),
           int arg)
{
    struct draft draft;
    for (uint32_t i = 0; i < image_topic_count(ctl->image); i++) {
        uint32_t partitions = image_topic_at(ctl->image, i)->partition_count;
        for (uint32_t k = 0; k < partitions; k++) {
            const struct partition_record *p = image_topic_at(ctl->image, i)->partitions[k];
            if (!has(p->replicas, p->replicas_count, broker_id)) {
                continue;
            }
            draft_init(&draft, p);
            if (change(ctl->image, &draft, broker_id, arg)) {
                draft_propose(ctl, &draft);
            }
        }
    }
}

static bool
change_one_leave(const struct image *image, struct draft *draft, int32_t broker_id, int arg)
{
    return leave_partition(image, draft, broker_id, (enum leave)arg);
}

void
change_leave(struct ctl *ctl, int32_t broker_id, enum leave leave)
{
    DMQ_ASSERT(!broker_is_live(ctl->image, broker_id));
    change_all(ctl, broker_id, change_one_leave, (int)leave);
}

/* Whether another replica may have all that was acknowledged; a leader needs one that is there. */
static bool
another_has_all(const struct image *image, const struct partition_record *p, int32_t broker_id)
{
    int32_t others[2 * META_MAX_REPLICAS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->isr_count; i++) {
        others[count++] = p->isr[i];
    }
    for (uint32_t i = 0; i < p->elr_count; i++) {
        others[count++] = p->elr[i];
    }
    drop(others, &count, broker_id);
    return p->leader == broker_id ? first_live(image, p, others, count) != -1 : count > 0;
}

/* What a leader was told of the log is true no more: in a new leader epoch it is forgotten, and
 * what was asked because of it comes too late (trap 11). The last copy stays what it is, whatever
 * it has lost: nobody has more. */
static bool
leave_damaged(const struct image *image, struct draft *draft, int32_t broker_id, int32_t told_epoch)
{
    struct partition_record *p = &draft->record;
    bool counted = has(p->isr, p->isr_count, broker_id) || has(p->elr, p->elr_count, broker_id);
    int32_t leader = p->leader;
    if (counted && !another_has_all(image, p, broker_id)) {
        return false;
    }
    bool left = leave_partition(image, draft, broker_id, LEAVE_DAMAGED);
    DMQ_ASSERT(left == counted && p->leader != broker_id);
    bool told = leader != -1 && leader != broker_id && told_epoch >= p->leader_epoch;
    p->leader_epoch += told ? 1 : 0;
    return left || told;
}

bool
change_damaged(struct ctl *ctl, int32_t broker_id, const struct damaged_log *log)
{
    struct draft draft;
    const struct partition_record *p = image_partition(ctl->image, log->topic_id, log->partition);
    if (p == NULL || !has(p->replicas, p->replicas_count, broker_id)) {
        return false; /* deleted meanwhile */
    }
    draft_init(&draft, p);
    bool changed = leave_damaged(ctl->image, &draft, broker_id, log->told_epoch);
    if (changed) {
        draft_propose(ctl, &draft);
    }
    return changed;
}

/* Hands over where another in sync is live; otherwise the leadership stays for the moment. */
static bool
change_one_hand_over(const struct image *image, struct draft *draft, int32_t broker_id, int arg)
{
    const struct partition_record *p = &draft->record;
    (void)arg;
    /* The broker is shutting down, so that it is not live itself. */
    bool other = p->leader == broker_id && first_live(image, p, p->isr, p->isr_count) != -1;
    return other && leave_partition(image, draft, broker_id, LEAVE_FENCED);
}

bool
change_hand_over(struct ctl *ctl, int32_t broker_id)
{
    DMQ_ASSERT(!broker_is_live(ctl->image, broker_id));
    change_all(ctl, broker_id, change_one_hand_over, 0);
    for (uint32_t i = 0; i < image_topic_count(ctl->image); i++) {
        const struct image_topic *topic = image_topic_at(ctl->image, i);
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            const struct partition_record *p = topic->partitions[k];
            bool could = p->leader == broker_id &&
                         first_live(ctl->image, p, p->replicas, p->replicas_count) != -1;
            if (could) {
                return false; /* a live replica may still get in sync */
            }
        }
    }
    return true;
}

static bool
change_one_join(const struct image *image, struct draft *draft, int32_t broker_id, int arg)
{
    (void)broker_id;
    (void)arg;
    if (draft->record.leader != -1) {
        return false;
    }
    elect(image, draft);
    draft->record.leader_epoch++;
    return draft->record.leader != -1;
}

void
change_join(struct ctl *ctl, int32_t broker_id)
{
    DMQ_ASSERT(broker_is_live(ctl->image, broker_id));
    change_all(ctl, broker_id, change_one_join, 0);
}

/* ---- asked for by the leader ----------------------------------------------------------------- */

/* Everyone who was in the ISR holds all that is safe, however far it lags now: so those who leave
 * it while it is small may still lead. What becomes sync is judged by synced ends from now on,
 * which only the members vouch for. */
void
change_isr(struct ctl *ctl, const struct partition_record *from, const int32_t *isr,
           uint32_t isr_count, int8_t durability)
{
    struct draft draft;
    struct partition_record *p = &draft.record;
    draft_init(&draft, from);
    DMQ_ASSERT(isr_count > 0 && has(isr, isr_count, p->leader));
    for (uint32_t i = 0; i < from->isr_count; i++) {
        DMQ_ASSERT(p->elr_count < META_MAX_REPLICAS && !has(p->elr, p->elr_count, from->isr[i]));
        p->elr[p->elr_count++] = from->isr[i];
    }
    for (uint32_t i = 0; i < isr_count; i++) {
        p->isr[i] = isr[i];
        drop(p->elr, &p->elr_count, isr[i]);
    }
    p->isr_count = isr_count;
    p->elr_count =
        durability == DURABILITY_SYNC && p->durability == DURABILITY_ASYNC ? 0 : p->elr_count;
    p->durability = durability;
    draft_propose(ctl, &draft);
}

/* ---- asked for by people, or by time --------------------------------------------------------- */

dmq_err
change_prefer(struct ctl *ctl, const struct partition_record *from)
{
    struct draft draft;
    int32_t preferred = from->replicas[0];
    if (from->leader == preferred) {
        return DMQ_ERR_ELECTION_NOT_NEEDED;
    }
    if (!has(from->isr, from->isr_count, preferred) || !broker_is_live(ctl->image, preferred)) {
        return DMQ_ERR_PREFERRED_LEADER_NOT_AVAILABLE;
    }
    draft_init(&draft, from);
    draft.record.leader = preferred;
    draft.record.leader_epoch++;
    draft_propose(ctl, &draft);
    return DMQ_OK;
}

/* The leader alone is in sync, and nobody is eligible beside it: those who were hold records that
 * it lacks, and must be cut before they count again (trap 19). They are when they join: only with
 * all that the leader had when it began (broker/replica/isr.c). */
dmq_err
change_elect_unclean(struct ctl *ctl, const struct partition_record *from, int32_t wanted)
{
    struct draft draft;
    struct partition_record *p = &draft.record;
    if (from->leader != -1) {
        return DMQ_ERR_ELECTION_NOT_NEEDED;
    }
    draft_init(&draft, from);
    elect(ctl->image, &draft);
    if (p->leader == -1) {
        p->leader = wanted == -1 ? first_live(ctl->image, p, p->replicas, p->replicas_count)
                                 : first_live(ctl->image, p, &wanted, 1);
        if (p->leader == -1) {
            return DMQ_ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
        }
        p->isr[0] = p->leader;
        p->isr_count = 1;
        p->elr_count = 0;
    }
    p->leader_epoch++;
    draft_propose(ctl, &draft);
    return DMQ_OK;
}

/* ---- settings -------------------------------------------------------------------------------- */

/* What a partition carries of its topic's settings; true if that changes it.
 *
 * A new min ISR clears the ELR, for its members were judged by the old one. Not so where the ISR is
 * empty: nothing can have been acknowledged since, and without the ELR nobody could ever lead.
 *
 * Async takes effect at once. Sync does not: a new leader epoch starts, in which the leader counts
 * synced ends, but an unclean restart is judged by async until the leader knows that every member
 * has synced what can be read (DESIGN, "Durability"). Either way the partition epoch rises, so that
 * what a leader asks for by the former setting comes too late. */
static bool
follow_settings(const struct topic_config *config, struct draft *draft, bool new_durability)
{
    struct partition_record *p = &draft->record;
    int32_t min_isr = topic_config_min_isr(config, p->replicas_count);
    bool new_min_isr = min_isr != p->min_isr;
    if (new_min_isr) {
        p->min_isr = min_isr;
        p->elr_count = p->isr_count > 0 ? 0 : p->elr_count;
    }
    if (new_durability && config->durability == DURABILITY_ASYNC) {
        p->durability = DURABILITY_ASYNC;
    } else if (new_durability && p->leader != -1) {
        p->leader_epoch++; /* else the next election makes a new one */
    }
    return new_min_isr || new_durability;
}

void
change_settings(struct ctl *ctl, struct uuid topic_id, bool new_durability)
{
    struct draft draft;
    const struct image_topic *topic = image_topic_by_id(ctl->image, topic_id);
    DMQ_ASSERT(topic != NULL);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        draft_init(&draft, topic->partitions[i]);
        if (follow_settings(&topic->config, &draft, new_durability)) {
            draft_propose(ctl, &draft);
            topic = image_topic_by_id(ctl->image, topic_id);
        }
    }
}

void
change_check(const struct image *image)
{
    for (uint32_t i = 0; i < image_topic_count(image); i++) {
        const struct image_topic *topic = image_topic_at(image, i);
        for (uint32_t k = 0; k < topic->partition_count; k++) {
            const struct partition_record *p = topic->partitions[k];
            const struct broker_record *leader = image_broker(image, p->leader);
            DMQ_ASSERT(p->leader == -1 || (leader != NULL && !leader->fenced));
            DMQ_ASSERT(p->elr_count == 0 || p->isr_count < (uint32_t)p->min_isr);
            for (uint32_t m = 0; m < p->isr_count; m++) {
                const struct broker_record *member = image_broker(image, p->isr[m]);
                DMQ_ASSERT(member != NULL && !member->fenced);
            }
        }
    }
}
