#include "tests/sim/checker.h"

#include <inttypes.h>
#include <stdlib.h>

#include "libdmq/base/map.h"

/* What was seen at each offset, and where each value was seen: two tables over the whole history.
 */

struct place_key {
    int64_t offset;
    int32_t topic;
    int32_t partition;
    int64_t epoch; /* where leaders were elected uncleanly; else 0 */
};

struct place {
    struct place_key key;
    uint64_t value;
    int32_t epoch; /* as it was read first */
    bool drained;  /* it is in the log in the end */
    UT_hash_handle hh;
};

struct known_value {
    uint64_t value;
    const struct history_send *send;
    struct place *place; /* where it is in the log; NULL: seen nowhere */
    UT_hash_handle hh;
};

/* How far a reader, or a sender's values, have come in a partition. */
struct cursor_key {
    int32_t process;
    int32_t topic;
    int32_t partition;
};

struct cursor {
    struct cursor_key key;
    int64_t last_offset;
    const struct place *last; /* of a reader */
    size_t begun;             /* of the drain: its last beginning, by number of the poll */
    UT_hash_handle hh;
};

struct checker {
    const struct history *history;
    int drain;
    struct place *places;
    struct known_value *values;
    struct cursor *readers;
    struct cursor *drains; /* of the drain alone */
    struct cursor *senders;
    struct verdict verdict;
};

const char *
anomaly_name(enum anomaly anomaly)
{
    static const char *const names[] = {
        "none",         "lost write", "duplicate",  "inconsistent offset", "phantom",
        "undead write", "send order", "poll order", "poll skip",           "unseen"};
    return names[anomaly];
}

static void
found(struct checker *c, enum anomaly anomaly, int topic, int partition, int64_t offset,
      uint64_t value)
{
    if (c->verdict.anomaly != ANOMALY_NONE) {
        return;
    }
    c->verdict.anomaly = anomaly;
    snprintf(c->verdict.text, sizeof(c->verdict.text),
             "%s: value %" PRIu64 " at offset %" PRId64 " of partition %d of topic %d",
             anomaly_name(anomaly), value, offset, partition, topic);
}

static void
learn_sends(struct checker *c)
{
    for (size_t i = 0; i < c->history->send_count; i++) {
        const struct history_send *send = &c->history->sends[i];
        struct known_value *known = calloc(1, sizeof(*known));
        DMQ_ASSERT(known != NULL);
        known->value = send->value;
        known->send = send;
        HASH_ADD(hh, c->values, value, sizeof(known->value), known);
    }
}

static struct cursor *
cursor_of(struct cursor **cursors, int process, int topic, int partition)
{
    const struct cursor_key key = {process, topic, partition};
    struct cursor *cursor;
    HASH_FIND(hh, *cursors, &key, sizeof(key), cursor);
    if (cursor == NULL) {
        cursor = calloc(1, sizeof(*cursor));
        DMQ_ASSERT(cursor != NULL);
        cursor->key = key;
        cursor->last_offset = -1;
        HASH_ADD(hh, *cursors, key, sizeof(cursor->key), cursor);
    }
    return cursor;
}

/* Where the log begins in the end. */
static int64_t
start_of(const struct checker *c, int topic, int partition)
{
    for (size_t i = 0; i < c->history->start_count; i++) {
        const struct history_start *start = &c->history->starts[i];
        if (start->topic == topic && start->partition == partition) {
            return start->offset;
        }
    }
    return 0;
}

static bool
is_cut(const struct checker *c, int topic, int partition)
{
    for (size_t i = 0; i < c->history->cut_count; i++) {
        const struct history_cut *cut = &c->history->cuts[i];
        if (cut->topic == topic && cut->partition == partition) {
            return true;
        }
    }
    return false;
}

/* What was given up by somebody who asked for that. */
static bool
may_be_lost(const struct checker *c, int topic, int partition, int64_t offset, int64_t epoch)
{
    for (size_t i = 0; i < c->history->cut_count; i++) {
        const struct history_cut *cut = &c->history->cuts[i];
        if (cut->topic == topic && cut->partition == partition && cut->epoch > epoch &&
            offset >= cut->offset) {
            return true;
        }
    }
    return false;
}

static bool
is_lost(const struct checker *c, const struct place *place)
{
    const struct place_key *key = &place->key;
    return !place->drained && may_be_lost(c, key->topic, key->partition, key->offset, key->epoch);
}

static struct place *
place_of(struct checker *c, const struct history_poll *poll)
{
    struct place_key key;
    struct place *place;
    memset(&key, 0, sizeof(key));
    key.offset = poll->offset;
    key.topic = poll->topic;
    key.partition = poll->partition;
    key.epoch = is_cut(c, poll->topic, poll->partition) ? poll->epoch : 0;
    HASH_FIND(hh, c->places, &key, sizeof(key), place);
    if (place == NULL) {
        place = calloc(1, sizeof(*place));
        DMQ_ASSERT(place != NULL);
        place->key = key;
        place->value = poll->value;
        place->epoch = poll->epoch;
        HASH_ADD(hh, c->places, key, sizeof(place->key), place);
    }
    return place;
}

/* What this reader has read right before; NULL: nothing. */
static const struct place *
read_before(struct checker *c, const struct history_poll *poll)
{
    const struct history_poll *last = poll;
    while (last-- > c->history->polls) {
        if (last->process == poll->process && last->topic == poll->topic &&
            last->partition == poll->partition && last->offset == poll->offset - 1) {
            return place_of(c, last);
        }
    }
    return NULL;
}

/* A reader moves forward by one; it may begin anew at the start, and go on where the log begins. It
 * goes back where it is told to. */
static void
check_reader(struct checker *c, const struct history_poll *poll, const struct place *place)
{
    struct cursor *reader = cursor_of(&c->readers, poll->process, poll->topic, poll->partition);
    if (poll->from_start) {
        reader->last_offset = -1;
        reader->last = NULL;
    } else if (poll->back) {
        reader->last = read_before(c, poll);
        reader->last_offset = reader->last == NULL ? -1 : poll->offset - 1;
    }
    bool kept =
        reader->last != NULL && reader->last_offset >= start_of(c, poll->topic, poll->partition);
    if (kept && place->drained && is_lost(c, reader->last)) {
        found(c, ANOMALY_POLL_SKIP, poll->topic, poll->partition, poll->offset, poll->value);
    }
    reader->last = place;
    if (poll->offset <= reader->last_offset) {
        found(c, ANOMALY_POLL_ORDER, poll->topic, poll->partition, poll->offset, poll->value);
    } else if (poll->offset != reader->last_offset + 1 &&
               poll->offset > start_of(c, poll->topic, poll->partition)) {
        found(c, ANOMALY_POLL_SKIP, poll->topic, poll->partition, poll->offset, poll->value);
    }
    reader->last_offset = poll->offset;
}

/* Where it was acknowledged is where it is, unless that was given up: then an earlier try of it may
 * be in the log of the one that was elected. */
static void
check_value(struct checker *c, const struct history_poll *poll, struct place *place)
{
    struct known_value *known;
    HASH_FIND(hh, c->values, &poll->value, sizeof(poll->value), known);
    if (known == NULL || known->send->topic != poll->topic ||
        known->send->partition != poll->partition) {
        found(c, ANOMALY_PHANTOM, poll->topic, poll->partition, poll->offset, poll->value);
        return;
    }
    if (is_lost(c, place)) {
        return; /* it may be there again, from a retry */
    }
    if (known->place != NULL && known->place != place) {
        found(c, ANOMALY_DUPLICATE, poll->topic, poll->partition, poll->offset, poll->value);
    }
    known->place = place;
    const struct history_send *send = known->send;
    if (send->outcome == HISTORY_FAIL) {
        found(c, ANOMALY_UNDEAD, poll->topic, poll->partition, poll->offset, poll->value);
    } else if (send->outcome == HISTORY_OK && send->offset >= 0 && send->offset != poll->offset &&
               !may_be_lost(c, send->topic, send->partition, send->offset, send->epoch)) {
        found(c, ANOMALY_INCONSISTENT, poll->topic, poll->partition, poll->offset, poll->value);
    }
}

/* The drain may have been a reader before: it is one since it began for the last time. Of a
 * partition of which nothing is left it sees nothing, and what it saw before is no drain. */
static void
learn_drained(struct checker *c)
{
    size_t first = c->history->drain_begins;
    for (size_t i = first; i < c->history->poll_count; i++) {
        const struct history_poll *poll = &c->history->polls[i];
        if (poll->process == c->drain && poll->from_start) {
            cursor_of(&c->drains, poll->process, poll->topic, poll->partition)->begun = i;
        }
    }
    for (size_t i = first; i < c->history->poll_count; i++) {
        const struct history_poll *poll = &c->history->polls[i];
        if (poll->process == c->drain &&
            i >= cursor_of(&c->drains, poll->process, poll->topic, poll->partition)->begun) {
            place_of(c, poll)->drained = true;
        }
    }
}

static void
check_polls(struct checker *c)
{
    for (size_t i = 0; i < c->history->poll_count; i++) {
        const struct history_poll *poll = &c->history->polls[i];
        struct place *place = place_of(c, poll);
        check_reader(c, poll, place);
        if (place->value != poll->value || place->epoch != poll->epoch) {
            found(c, ANOMALY_INCONSISTENT, poll->topic, poll->partition, poll->offset, poll->value);
        }
        check_value(c, poll, place);
    }
}

/* Sends are listed in the order in which they were invoked: their offsets must rise. */
static void
check_sends(struct checker *c)
{
    for (size_t i = 0; i < c->history->send_count; i++) {
        const struct history_send *send = &c->history->sends[i];
        struct known_value *known;
        HASH_FIND(hh, c->values, &send->value, sizeof(send->value), known);
        const struct place *place = known->place;
        int64_t start = start_of(c, send->topic, send->partition);
        int64_t offset = place != NULL ? place->key.offset : send->offset;
        bool gone = offset < start; /* also one whose offset nobody knows */
        bool given_up =
            place == NULL && may_be_lost(c, send->topic, send->partition, offset, send->epoch);
        if ((gone || given_up) && send->outcome == HISTORY_OK) {
            /* retention has taken it, seen or not, or somebody gave it up */
        } else if (send->outcome == HISTORY_OK && place == NULL) {
            found(c, ANOMALY_LOST, send->topic, send->partition, send->offset, send->value);
        } else if (send->outcome == HISTORY_OK && !place->drained) {
            found(c, ANOMALY_UNSEEN, send->topic, send->partition, send->offset, send->value);
        }
        if (place == NULL) {
            continue;
        }
        struct cursor *sender = cursor_of(&c->senders, send->process, send->topic, send->partition);
        if (place->key.offset <= sender->last_offset) {
            found(c, ANOMALY_SEND_ORDER, send->topic, send->partition, place->key.offset,
                  send->value);
        }
        sender->last_offset = place->key.offset;
    }
}

static void
free_cursors(struct cursor *cursors)
{
    struct cursor *cursor;
    struct cursor *next;
    HASH_ITER (hh, cursors, cursor, next) {
        HASH_DEL(cursors, cursor);
        free(cursor);
    }
}

static void
free_tables(struct checker *c)
{
    struct place *place;
    struct place *next_place;
    HASH_ITER (hh, c->places, place, next_place) {
        HASH_DEL(c->places, place);
        free(place);
    }
    struct known_value *known;
    struct known_value *next_known;
    HASH_ITER (hh, c->values, known, next_known) {
        HASH_DEL(c->values, known);
        free(known);
    }
    free_cursors(c->readers);
    free_cursors(c->drains);
    free_cursors(c->senders);
}

struct verdict
history_check(const struct history *history, int drain)
{
    struct checker c = {.history = history, .drain = drain};
    learn_sends(&c);
    learn_drained(&c);
    check_polls(&c);
    check_sends(&c);
    free_tables(&c);
    return c.verdict;
}
