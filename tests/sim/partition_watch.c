/* Each place has a cursor: how far its log was found equal to what is committed. It moves on when
 * more is, and begins anew when something may have been taken from the log. */
#include "tests/sim/partition_watch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

#define NO_LIFE UINT64_MAX

struct place {
    uint64_t generation; /* of the log when it was read */
    enum watch_part part;
    int64_t equal_end; /* equal to what is committed up to here */
    uint64_t life;
    int64_t high_watermark; /* of that life */
};

struct partition_watch {
    struct watch_disks disks;
    int place_count;
    struct place places[WATCH_GHOST + WATCH_PLACES];
    struct watch_entry *committed; /* in order, without a gap */
    size_t count;
    size_t capacity;
    int64_t end;   /* of what is committed */
    int64_t start; /* the highest log start of a replica */
    bool seen;     /* an image */
    struct watch_image image;
    int32_t epoch; /* the newest that somebody leads in */
    int leader;
    uint64_t leader_life;
    size_t cuts; /* by unclean elections */
    struct watch_cut cut;
    int64_t former_end; /* the highest of histories that were given up */
    uint64_t former;    /* places that may still hold one of them */
    char failure[240];
};

struct partition_watch *
partition_watch_new(const struct watch_disks *disks, int places)
{
    struct partition_watch *watch = calloc(1, sizeof(*watch));
    DMQ_ASSERT(watch != NULL && places <= WATCH_PLACES);
    watch->disks = *disks;
    watch->place_count = places;
    watch->epoch = -1;
    watch->leader = -1;
    return watch;
}

void
partition_watch_free(struct partition_watch *watch)
{
    if (watch != NULL) {
        free(watch->committed);
        free(watch);
    }
}

const char *
partition_watch_failure(const struct partition_watch *watch)
{
    return watch->failure[0] == '\0' ? NULL : watch->failure;
}

int64_t
partition_watch_committed(const struct partition_watch *watch)
{
    return watch->end;
}

size_t
partition_watch_cuts(const struct partition_watch *watch, struct watch_cut *ret_last)
{
    *ret_last = watch->cut;
    return watch->cuts;
}

int64_t
partition_watch_start(const struct partition_watch *watch)
{
    return watch->start;
}

__attribute__((format(printf, 2, 3))) static void
fail(struct partition_watch *watch, const char *format, ...)
{
    va_list args;
    if (watch->failure[0] != '\0') {
        return;
    }
    va_start(args, format);
    vsnprintf(watch->failure, sizeof(watch->failure), format, args);
    va_end(args);
}

static bool
same(const struct watch_entry *a, const struct watch_entry *b)
{
    return a->base == b->base && a->end == b->end && a->epoch == b->epoch && a->value == b->value;
}

static bool
holds(uint64_t set, int place)
{
    return (set >> place & 1) != 0;
}

/* ---- what is committed ----------------------------------------------------------------------- */

/* The committed entry that holds offset. */
static const struct watch_entry *
committed_at(const struct partition_watch *watch, int64_t offset)
{
    size_t low = 0;
    size_t high = watch->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (watch->committed[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    DMQ_ASSERT(low < watch->count);
    return &watch->committed[low];
}

static void
add_committed(struct partition_watch *watch, const struct watch_entry *entry)
{
    if (watch->count == watch->capacity) {
        watch->capacity = watch->capacity == 0 ? 64 : watch->capacity * 2;
        watch->committed = realloc(watch->committed, watch->capacity * sizeof(*entry));
        DMQ_ASSERT(watch->committed != NULL);
    }
    watch->committed[watch->count++] = *entry;
    watch->end = entry->end;
}

/* Whether the log in this place goes on as what is committed does, by one entry. */
static bool
follows(struct partition_watch *watch, int place, enum watch_part part, int64_t *offset)
{
    struct watch_entry entry;
    if (!watch->disks.read(watch->disks.arg, place, part, *offset, &entry)) {
        return false;
    }
    if (!same(&entry, committed_at(watch, *offset))) {
        return false;
    }
    *offset = entry.end;
    return true;
}

/* How far the log in this place is equal to what is committed. */
static int64_t
equal_end(struct partition_watch *watch, int place, enum watch_part part)
{
    struct place *at = &watch->places[place];
    uint64_t generation = watch->disks.generation(watch->disks.arg, place);
    if (at->generation != generation || at->part != part) {
        at->generation = generation;
        at->part = part;
        at->equal_end = 0;
    }
    /* What is below has been let go of, and is there or not. */
    at->equal_end = at->equal_end < watch->start ? watch->start : at->equal_end;
    while (at->equal_end < watch->end && follows(watch, place, part, &at->equal_end)) {
    }
    return at->equal_end;
}

/* On how many disks all that is committed is, or was until a disk was emptied. */
static int
copies(struct partition_watch *watch, enum watch_part part)
{
    int count = 0;
    for (int i = 0; i < watch->place_count; i++) {
        bool held = equal_end(watch, i, part) >= watch->end ||
                    equal_end(watch, i + WATCH_GHOST, part) >= watch->end;
        count += held;
    }
    return count;
}

/* A leader says that all below its high watermark is safe. */
static void
commit(struct partition_watch *watch, const struct watch_replica *leader)
{
    enum watch_part part = leader->async ? WATCH_ALL : WATCH_SYNCED;
    struct watch_entry entry;
    while (watch->end < leader->high_watermark) {
        if (!watch->disks.read(watch->disks.arg, leader->place, part, watch->end, &entry) ||
            entry.base != watch->end || entry.end > leader->high_watermark) {
            fail(watch, "replica %d calls offset %" PRId64 " safe and does not hold it",
                 leader->place, watch->end);
            return;
        }
        add_committed(watch, &entry);
    }
    if (copies(watch, part) < watch->image.min_isr) {
        fail(watch, "offset %" PRId64 " is acknowledged and not on min ISR disks", watch->end - 1);
    }
}

/* ---- replicas -------------------------------------------------------------------------------- */

/* What can be read of it is what was read there before, wherever that was. */
static void
check_read(struct partition_watch *watch, const struct watch_replica *replica, int64_t from)
{
    int64_t to = replica->high_watermark < watch->end ? replica->high_watermark : watch->end;
    struct watch_entry entry;
    from = from < watch->start ? watch->start : from; /* what is below has been let go of */
    while (from < to &&
           watch->disks.read(watch->disks.arg, replica->place, WATCH_ALL, from, &entry)) {
        bool gone = entry.base > from && entry.base <= watch->start;
        if (!gone && !same(&entry, committed_at(watch, from))) {
            fail(watch, "replica %d shows offset %" PRId64 ", which was another one before",
                 replica->place, from);
            return;
        }
        from = gone ? entry.base : entry.end;
    }
}

static void
check_leader(struct partition_watch *watch, const struct watch_replica *replica)
{
    bool known = replica->place == watch->leader && replica->life == watch->leader_life;
    if (replica->leader_epoch < watch->epoch) {
        return; /* it has not heard of its end: it proves nothing */
    }
    if (replica->leader_epoch == watch->epoch && !known) {
        fail(watch, "replicas %d and %d lead in epoch %" PRId32, watch->leader, replica->place,
             watch->epoch);
    }
    watch->epoch = replica->leader_epoch;
    watch->leader = replica->place;
    watch->leader_life = replica->life;
    if (replica->end < watch->end) {
        fail(watch,
             "replica %d leads in epoch %" PRId32 " with end %" PRId64 ", but %" PRId64
             " is committed",
             replica->place, watch->epoch, replica->end, watch->end);
    }
}

/* Within a life. A new one begins with a checkpoint. */
static int64_t
former_high_watermark(struct partition_watch *watch, const struct watch_replica *replica)
{
    struct place *place = &watch->places[replica->place];
    if (place->life != replica->life) {
        place->life = replica->life;
        place->high_watermark = replica->high_watermark;
        return 0;
    }
    if (replica->high_watermark < place->high_watermark) {
        fail(watch, "the high watermark of replica %d fell from %" PRId64 " to %" PRId64,
             replica->place, place->high_watermark, replica->high_watermark);
    }
    return place->high_watermark;
}

static void check_members(struct partition_watch *watch);

/* Whether it may still be of a history that was given up. */
static bool
is_former(struct partition_watch *watch, const struct watch_replica *replica)
{
    uint64_t joined = watch->former & watch->image.isr;
    watch->former &= ~joined;
    for (int i = 0; i < watch->place_count; i++) {
        if (holds(joined, i)) {
            watch->places[i].life = NO_LIFE; /* its high watermark was cut with its log */
        }
    }
    return replica->leader_epoch < watch->cut.epoch || holds(watch->former, replica->place);
}

/* What a leader of the former history called safe, an unclean leader may not have synced: nothing
 * follows from it, here and with those whom it tells, until its high watermark rises by what it and
 * others have, or all of them have that much. */
static bool
is_hearsay(const struct partition_watch *watch, const struct watch_replica *replica, bool rose)
{
    return replica->high_watermark <= watch->former_end && !(replica->leads && rose);
}

static void
commit_hearsay(struct partition_watch *watch, const struct watch_replica *leader)
{
    const size_t count = watch->count;
    const int64_t end = watch->end;
    struct watch_entry entry;
    while (watch->end < leader->high_watermark &&
           watch->disks.read(watch->disks.arg, leader->place, WATCH_SYNCED, watch->end, &entry) &&
           entry.base == watch->end) {
        add_committed(watch, &entry);
    }
    int held = 0;
    for (int i = 0; i < watch->place_count; i++) {
        held += holds(watch->image.isr, i) && equal_end(watch, i, WATCH_SYNCED) >= watch->end;
    }
    if (watch->end == leader->high_watermark && held >= watch->image.min_isr &&
        held == __builtin_popcountll(watch->image.isr)) {
        return;
    }
    watch->count = count;
    watch->end = end;
    for (int i = 0; i < watch->place_count; i++) {
        struct place *place = &watch->places[i];
        place->equal_end = place->equal_end < end ? place->equal_end : end;
    }
}

void
partition_watch_replica(struct partition_watch *watch, const struct watch_replica *replica)
{
    if (is_former(watch, replica)) {
        return;
    }
    int64_t from = former_high_watermark(watch, replica);
    int64_t committed = watch->end;
    watch->places[replica->place].high_watermark = replica->high_watermark;
    watch->start = replica->start > watch->start ? replica->start : watch->start;
    if (replica->start > replica->high_watermark) {
        fail(watch, "the log of replica %d begins above its high watermark", replica->place);
    }
    if (replica->leads) {
        check_leader(watch, replica);
    }
    bool rose = from > 0 && replica->high_watermark > from;
    if (rose && replica->leads && !replica->async &&
        replica->high_watermark > replica->synced_end) {
        fail(watch, "the high watermark of replica %d rose above its synced end", replica->place);
    }
    if (replica->high_watermark > watch->end && is_hearsay(watch, replica, rose)) {
        if (replica->leads) {
            commit_hearsay(watch, replica);
        }
    } else if (replica->high_watermark > watch->end && !replica->leads) {
        fail(watch, "the high watermark of replica %d is above all leaders'", replica->place);
    } else if (replica->high_watermark > watch->end) {
        commit(watch, replica);
    }
    if (replica->high_watermark > from) {
        check_read(watch, replica, from);
    }
    if (watch->end > committed) {
        check_members(watch);
    }
}

/* ---- images ---------------------------------------------------------------------------------- */

/* Everyone who may lead next holds all that was acknowledged. */
static void
check_members(struct partition_watch *watch)
{
    const struct watch_image *image = &watch->image;
    enum watch_part part = image->async ? WATCH_ALL : WATCH_SYNCED;
    for (int i = 0; i < watch->place_count; i++) {
        if (!holds(image->isr | image->elr, i) || watch->disks.is_other(watch->disks.arg, i)) {
            continue;
        }
        int64_t end = equal_end(watch, i, part);
        if (end < watch->end) {
            fail(watch,
                 "replica %d is in the %s and holds what is committed up to %" PRId64
                 ", not %" PRId64,
                 i, holds(image->isr, i) ? "ISR" : "ELR", end, watch->end);
        }
    }
}

static void
check_sets(struct partition_watch *watch)
{
    const struct watch_image *image = &watch->image;
    if (((image->isr | image->elr) & ~image->replicas) != 0) {
        fail(watch, "a member of the ISR or the ELR is no replica");
    }
    if ((image->isr & image->elr) != 0) {
        fail(watch, "a broker is in the ISR and in the ELR");
    }
    if ((image->isr & ~image->live) != 0) {
        fail(watch, "a member of the ISR is fenced, or a process that is gone");
    }
    if (image->leader >= 0 && !holds(image->isr, image->leader)) {
        fail(watch, "the leader is not in the ISR");
    }
}

static void
check_epochs(struct partition_watch *watch, const struct watch_image *next)
{
    const struct watch_image *last = &watch->image;
    bool moved = next->leader != last->leader;
    bool changed = moved || next->isr != last->isr || next->elr != last->elr;
    if (next->leader_epoch < last->leader_epoch || next->partition_epoch < last->partition_epoch) {
        fail(watch, "the leader epoch or the partition epoch fell");
    }
    if (moved && next->leader_epoch == last->leader_epoch) {
        fail(watch, "another leader, and no other leader epoch");
    }
    if (changed && next->partition_epoch == last->partition_epoch) {
        fail(watch, "another ISR, and no other partition epoch");
    }
}

/* None of those who could lead is left, and another one may. */
static bool
is_unclean(const struct partition_watch *watch, const struct watch_image *next)
{
    uint64_t last = watch->image.isr | watch->image.elr;
    uint64_t now = next->isr | next->elr;
    return watch->seen && next->may_lose && now != 0 && (last & now) == 0;
}

/* From here on the log of the one that was elected is the history. */
static void
begin_history(struct partition_watch *watch)
{
    struct watch_entry first;
    int place = __builtin_ctzll(watch->image.isr | watch->image.elr);
    size_t count = watch->count;
    bool any = watch->disks.read(watch->disks.arg, place, WATCH_SYNCED, 0, &first);
    int64_t start = any ? first.base : 0;
    int64_t highest = watch->start; /* others may begin there still, if its log goes so far */
    watch->start = start < highest ? start : highest;
    watch->former_end = watch->end > watch->former_end ? watch->end : watch->former_end;
    watch->places[place].equal_end = 0;
    int64_t end = equal_end(watch, place, WATCH_SYNCED);
    watch->end = end < watch->end ? end : watch->end;
    watch->start = watch->end < highest ? watch->end : highest;
    while (watch->count > 0 && watch->committed[watch->count - 1].end > watch->end) {
        watch->count--;
    }
    watch->cut =
        (struct watch_cut){watch->end, watch->image.leader_epoch, (int64_t)(count - watch->count)};
    if (start > watch->end) { /* it begins beyond all that was left of the former history */
        watch->count = 0;
        watch->start = start;
        watch->end = start;
    }
    watch->cuts++;
    watch->former = watch->image.replicas & ~(UINT64_C(1) << place);
    for (int i = 0; i < WATCH_GHOST + watch->place_count; i++) {
        watch->places[i].equal_end = 0;
    }
    watch->places[place].life = NO_LIFE;
}

void
partition_watch_image(struct partition_watch *watch, const struct watch_image *image)
{
    bool unclean = is_unclean(watch, image);
    if (watch->seen) {
        check_epochs(watch, image);
    }
    watch->seen = true;
    watch->image = *image;
    if (unclean) {
        begin_history(watch);
    }
    check_sets(watch);
    check_members(watch);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool
read_all(struct partition_watch *watch, int place, int64_t offset, struct watch_entry *ret_entry)
{
    return watch->disks.read(watch->disks.arg, place, WATCH_ALL, offset, ret_entry);
}

void
partition_watch_match(struct partition_watch *watch, int a, int b)
{
    struct watch_entry one;
    struct watch_entry other;
    int64_t at = 0;
    int64_t parts = -1; /* the first offset at which they do */
    while (read_all(watch, a, at, &one) && read_all(watch, b, at, &other)) {
        int64_t begins = one.base > other.base ? one.base : other.base;
        if (begins > at) {
            at = begins; /* one of them begins there, or in the middle of the other's */
            continue;
        }
        bool together = one.base == other.base;
        if (together && !same(&one, &other) && parts < 0) {
            parts = at;
        }
        if (together && parts >= 0 && one.epoch == other.epoch) {
            fail(watch,
                 "the logs of replicas %d and %d part at %" PRId64
                 " and are of one epoch at %" PRId64,
                 a, b, parts, one.base);
            return;
        }
        int64_t next = one.end < other.end ? one.end : other.end;
        at = next > at ? next : at + 1;
    }
}

bool
partition_watch_holds_all(struct partition_watch *watch, int place)
{
    return equal_end(watch, place, WATCH_SYNCED) >= watch->end;
}

void
partition_watch_all(struct partition_watch *watch)
{
    for (int i = 0; i < watch->place_count; i++) {
        watch->places[i].equal_end = 0;
    }
    check_members(watch);
}
