#include "broker/core/waiters.h"

#include "broker/core/brk.h"
#include "broker/core/call.h"
#include "broker/core/partition.h"

/* Watches live in their call's arena. Lists of acknowledgements are kept in order of offset, so
 * that progress looks only at what it satisfies. A list is detached before its calls are told:
 * telling one may answer another, or park again at the end of the same list. */

static struct watch *
watch_new(struct call *call, enum watch_kind kind, uint32_t index)
{
    struct watch *watch = call->free_watches;
    if (watch != NULL) {
        call->free_watches = watch->other;
    } else {
        watch = arena_alloc(&call->arena, sizeof(*watch));
        DMQ_ASSERT(watch != NULL);
    }
    *watch = (struct watch){.kind = kind, .index = index, .call = call, .other = call->watches};
    call->watches = watch;
    call->watch_count++;
    return watch;
}

/* Nearly always at the end: only the watch of a duplicate, whose offset was given earlier, moves
 * up. */
static void
insert_sorted(struct list *head, struct watch *watch)
{
    struct list *place = head;
    while (place->prev != head &&
           LIST_ENTRY(place->prev, struct watch, link)->offset > watch->offset) {
        place = place->prev;
    }
    list_insert(place, &watch->link);
}

void
watch_partition(struct brk *brk, struct call *call, enum watch_kind kind, uint32_t index,
                struct partition *p, int64_t offset)
{
    (void)brk;
    struct watch *watch = watch_new(call, kind, index);
    watch->offset = offset;
    switch (kind) {
    case WATCH_HW:
        insert_sorted(&p->hw_watches, watch);
        break;
    case WATCH_SYNCED:
        insert_sorted(&p->sync_watches, watch);
        break;
    case WATCH_DATA:
        list_append(&p->data_watches, &watch->link);
        break;
    case WATCH_END:
        list_append(&p->end_watches, &watch->link);
        break;
    default:
        DMQ_UNREACHABLE();
    }
}

void
watch_id(struct brk *brk, struct call *call, enum watch_kind kind, uint32_t index, uint64_t id)
{
    struct watch *watch = watch_new(call, kind, index);
    watch->id = id;
    DMQ_ASSERT(kind == WATCH_EFFECT || kind == WATCH_PEER);
    if (kind == WATCH_EFFECT) {
        HASH_ADD(hh, brk->effect_watches, id, sizeof(watch->id), watch);
    } else {
        HASH_ADD(hh, brk->peer_watches, id, sizeof(watch->id), watch);
    }
}

/* Takes a watch out of the structure that it waits in. One that has fired is in none. */
static void
detach(struct brk *brk, struct watch *watch)
{
    switch (watch->kind) {
    case WATCH_EFFECT:
        if (watch->id != 0) {
            HASH_DELETE(hh, brk->effect_watches, watch);
        }
        break;
    case WATCH_PEER:
        if (watch->id != 0) {
            HASH_DELETE(hh, brk->peer_watches, watch);
        }
        break;
    default:
        list_remove(&watch->link);
    }
    watch->id = 0;
}

void
watch_cancel_all(struct brk *brk, struct call *call)
{
    while (call->watches != NULL) {
        struct watch *watch = call->watches;
        call->watches = watch->other;
        detach(brk, watch);
        watch->other = call->free_watches;
        call->free_watches = watch;
    }
    call->watch_count = 0;
}

/* Once, whatever came of it; the call decides what that means. It may be gone when this returns. */
static void
fire(struct brk *brk, struct watch *watch, dmq_err err)
{
    struct call *call = watch->call;
    DMQ_ASSERT(call->watch_count > 0);
    detach(brk, watch);
    call->watch_count--;
    call_on_watch(brk, call, watch->index, err);
}

/* Fires the watches of a sorted list at or below reached. */
static void
fire_reached(struct brk *brk, struct list *head, int64_t reached)
{
    while (!list_empty(head)) {
        struct watch *first = LIST_ENTRY(head->next, struct watch, link);
        if (first->offset > reached) {
            return;
        }
        fire(brk, first, DMQ_OK);
    }
}

static void
fire_all(struct brk *brk, struct list *head, dmq_err err)
{
    struct list detached;
    list_take(&detached, head);
    while (!list_empty(&detached)) {
        fire(brk, LIST_ENTRY(detached.next, struct watch, link), err);
    }
}

void
watch_progress(struct brk *brk, struct partition *p, bool moved)
{
    fire_reached(brk, &p->sync_watches, p->replica.synced_end);
    if (moved) {
        fire_reached(brk, &p->hw_watches, p->replica.high_watermark);
        fire_all(brk, &p->data_watches, DMQ_OK);
    }
}

void
watch_appended(struct brk *brk, struct partition *p)
{
    fire_all(brk, &p->end_watches, DMQ_OK);
}

void
watch_below_min_isr(struct brk *brk, struct partition *p)
{
    fire_all(brk, &p->hw_watches, DMQ_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
}

void
watch_abandon(struct brk *brk, struct partition *p)
{
    fire_all(brk, &p->end_watches, DMQ_ERR_NOT_LEADER);
    fire_all(brk, &p->hw_watches, DMQ_ERR_NOT_LEADER);
    fire_all(brk, &p->sync_watches, DMQ_ERR_NOT_LEADER);
    fire_all(brk, &p->data_watches, DMQ_ERR_NOT_LEADER);
}

static struct call *
take(struct brk *brk, struct watch *watch, uint32_t *ret_index)
{
    if (watch == NULL) {
        return NULL;
    }
    detach(brk, watch);
    watch->call->watch_count--;
    *ret_index = watch->index;
    return watch->call;
}

struct call *
watch_take_effect(struct brk *brk, uint64_t id, uint32_t *ret_index)
{
    struct watch *watch = NULL;
    HASH_FIND(hh, brk->effect_watches, &id, sizeof(id), watch);
    return take(brk, watch, ret_index);
}

struct call *
watch_take_peer(struct brk *brk, uint64_t id)
{
    uint32_t index;
    struct watch *watch = NULL;
    HASH_FIND(hh, brk->peer_watches, &id, sizeof(id), watch);
    return take(brk, watch, &index);
}
