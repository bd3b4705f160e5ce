#include "tests/support/raft_writes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"

#define MAX_ENTRIES 5
#define MAX_PAYLOAD 700

void
raft_writes_init(struct raft_writes *writes, uint64_t seed, size_t max_data)
{
    *writes = (struct raft_writes){.max_data = max_data};
    rng_init(&writes->rng, seed);
}

void
raft_writes_deinit(struct raft_writes *writes)
{
    raft_disk_deinit(&writes->disk);
}

static int64_t
below(struct raft_writes *writes, int64_t limit)
{
    return (int64_t)rng_below(&writes->rng, (uint64_t)limit);
}

static bool
one_in(struct raft_writes *writes, int64_t n)
{
    return below(writes, n) == 0;
}

static int64_t
last_of(const struct raft_disk *disk)
{
    return disk->prev_index + disk->count;
}

static int64_t
max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static struct buf *
random_bytes(struct raft_writes *writes, size_t max)
{
    struct buf *buf = buf_new((size_t)below(writes, (int64_t)max + 1));
    DMQ_ASSERT(buf != NULL);
    for (size_t i = 0; i < buf->size; i++) {
        buf->data[i] = (uint8_t)rng_below(&writes->rng, 256);
    }
    return buf;
}

static void
random_members(struct raft_writes *writes, struct raft_members *ret_members)
{
    *ret_members = (struct raft_members){.count = (uint32_t)(1 + below(writes, 5))};
    for (uint32_t i = 0; i < ret_members->count; i++) {
        ret_members->at[i].id = raft_test_id((int32_t)i + 1, 1 + (int)below(writes, 3));
        ret_members->at[i].voter = i == 0 || one_in(writes, 2);
    }
}

static struct raft_entry
random_entry(struct raft_writes *writes, int64_t term)
{
    struct raft_entry entry = {.term = term};
    struct raft_members members;
    if (one_in(writes, 6)) {
        return entry;
    }
    if (one_in(writes, 6)) {
        random_members(writes, &members);
        entry.kind = RAFT_ENTRY_MEMBERS;
        entry.payload = raft_members_encode(&members);
        return entry;
    }
    entry.kind = RAFT_ENTRY_DATA;
    entry.payload = random_bytes(writes, MAX_PAYLOAD);
    return entry;
}

/* ---- parts of a write ------------------------------------------------------------------------ */

static void
draw_term(struct raft_writes *writes, struct raft_persist *write)
{
    if (one_in(writes, 3)) {
        write->term += 1 + below(writes, 3);
        write->vote = (struct raft_id){0};
    }
    if (write->vote.node == 0 && write->term > 0 && one_in(writes, 2)) {
        write->vote = raft_test_id((int32_t)(1 + below(writes, 3)), 1);
        writes->votes++;
    }
}

/* Entries at the end, or in the place of some that are not committed: of terms that the log had by
 * then, so its last one may be lower than before. */
static void
draw_entries(struct raft_writes *writes, struct raft_persist *write, struct raft_entry *entries)
{
    const struct raft_disk *disk = &writes->disk;
    int64_t last = last_of(disk);
    int64_t committed = max64(write->commit, disk->snapshot.index);
    if (last > committed && one_in(writes, 4)) {
        write->from = committed + 1 + below(writes, last - committed);
        write->count = 1;
        writes->cut_off++;
    }
    write->count += below(writes, MAX_ENTRIES);
    int64_t term = raft_disk_term_at(disk, write->from - 1);
    for (int64_t i = 0; i < write->count; i++) {
        if (term == 0 || one_in(writes, 3)) {
            term += 1 + below(writes, write->term - term + 1);
            term = term > write->term ? write->term : term;
        }
        entries[i] = random_entry(writes, term);
    }
    writes->appended += write->count;
    writes->lowered += write->count > 0 && term < raft_disk_term_at(disk, last);
}

/* Of what is committed and stays; the log keeps some entries before it. */
static void
draw_compaction(struct raft_writes *writes, struct raft_persist *write,
                struct raft_snapshot *snapshot)
{
    const struct raft_disk *disk = &writes->disk;
    int64_t lowest = max64(disk->snapshot.index, disk->prev_index);
    int64_t committed = write->commit < write->from - 1 ? write->commit : write->from - 1;
    if (committed <= lowest || !one_in(writes, 5)) {
        return;
    }
    snapshot->index = lowest + 1 + below(writes, committed - lowest);
    snapshot->term = raft_disk_term_at(disk, snapshot->index);
    write->prev_index += below(writes, snapshot->index - write->prev_index + 1);
    write->prev_term = raft_disk_term_at(disk, write->prev_index);
    write->snapshot = snapshot;
    writes->compacted++;
}

/* A leader's, beyond the end of the log, which goes. */
static void
draw_installation(struct raft_writes *writes, struct raft_persist *write,
                  struct raft_snapshot *snapshot)
{
    const struct raft_disk *disk = &writes->disk;
    int64_t committed = max64(write->commit, disk->snapshot.index);
    snapshot->index = last_of(disk) + 1 + below(writes, 5);
    snapshot->term = max64(1 + below(writes, write->term), raft_disk_term_at(disk, committed));
    write->prev_index = snapshot->index;
    write->prev_term = snapshot->term;
    write->from = snapshot->index + 1;
    write->snapshot = snapshot;
    writes->installed++;
}

static void
draw_founding(struct raft_writes *writes, struct raft_persist *write,
              struct raft_snapshot *snapshot)
{
    random_members(writes, &snapshot->members);
    write->seq = 0;
    write->snapshot = snapshot;
    writes->founded++;
}

static void
draw(struct raft_writes *writes, struct raft_persist *write, struct raft_entry *entries,
     struct raft_snapshot *snapshot)
{
    if (writes->seq == 0 && one_in(writes, 2)) {
        draw_founding(writes, write, snapshot);
        return;
    }
    write->seq = writes->seq;
    draw_term(writes, write);
    if (write->term == 0) {
        return;
    }
    int64_t commit = write->commit;
    write->commit += below(writes, last_of(&writes->disk) - commit + 1);
    if (one_in(writes, 9)) {
        write->commit = commit;
        draw_installation(writes, write, snapshot);
    } else {
        draw_entries(writes, write, entries);
        draw_compaction(writes, write, snapshot);
    }
    if (write->snapshot != NULL) {
        random_members(writes, &snapshot->members);
        snapshot->data = random_bytes(writes, writes->max_data);
    }
}

struct raft_persist *
raft_writes_next(struct raft_writes *writes)
{
    struct raft_entry entries[MAX_ENTRIES + 1] = {0};
    struct raft_snapshot snapshot = {0};
    const struct raft_disk *disk = &writes->disk;
    struct raft_persist write = {.term = disk->term,
                                 .vote = disk->vote,
                                 .commit = disk->commit,
                                 .from = last_of(disk) + 1,
                                 .entries = entries,
                                 .prev_index = disk->prev_index,
                                 .prev_term = disk->prev_term};
    draw(writes, &write, entries, &snapshot);
    writes->seq++;
    struct raft_persist *copy = raft_persist_copy(&write);
    for (int64_t i = 0; i < write.count; i++) {
        buf_unref(entries[i].payload);
    }
    buf_unref(snapshot.data);
    raft_disk_write(&writes->disk, copy);
    return copy;
}

/* ---- text ------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void
put_text(struct outbuf *out, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    DMQ_ASSERT(size >= 0 && (size_t)size < sizeof(text));
    outbuf_put(out, text, (size_t)size);
}

static void
put_bytes_text(struct outbuf *out, const struct buf *buf)
{
    if (buf == NULL) {
        put_text(out, " -");
    } else {
        put_text(out, " %zu/%08" PRIx32, buf->size, crc32c(0, buf->data, buf->size));
    }
}

static void
put_id_text(struct outbuf *out, struct raft_id id)
{
    char disk[UUID_TEXT_SIZE];
    put_text(out, " %" PRId32 "@%s", id.node, uuid_text(id.disk, disk));
}

void
raft_saved_text(const struct raft_saved *saved, struct outbuf *out)
{
    const struct raft_snapshot *snapshot = &saved->snapshot;
    put_text(out, "term %" PRId64 " vote", saved->term);
    put_id_text(out, saved->vote);
    put_text(out, " commit %" PRId64 " prev %" PRId64 ".%" PRId64 " snapshot %" PRId64 ".%" PRId64,
             saved->commit, saved->prev_index, saved->prev_term, snapshot->index, snapshot->term);
    put_bytes_text(out, snapshot->data);
    for (uint32_t i = 0; i < snapshot->members.count; i++) {
        put_id_text(out, snapshot->members.at[i].id);
        put_text(out, snapshot->members.at[i].voter ? "v" : "l");
    }
    for (int64_t i = 0; i < saved->count; i++) {
        put_text(out, "\n%" PRId64 ": %" PRId64 " %d", saved->prev_index + 1 + i,
                 saved->entries[i].term, (int)saved->entries[i].kind);
        put_bytes_text(out, saved->entries[i].payload);
    }
}
