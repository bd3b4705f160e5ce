/* Rows of the store: keys that sort by index, and values of the message table. A row of a newer
 * version stops the reader before its other fields are looked at: they may have another meaning. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/store/internal.h"
#include "libdmq/base/arena.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/reader.h"

#define ROW_VERSION 0
#define ROW_MEMORY ((size_t)64 << 10) /* decoded: 64 seats */

/* Half of the range, so that no sum overflows; as Raft bounds what it takes from messages. */
#define MAX_NUMBER (INT64_MAX / 2)

/* ---- keys ------------------------------------------------------------------------------------ */

struct row_key
row_key(const char *name)
{
    struct row_key key = {.size = strlen(name)};
    DMQ_ASSERT(key.size <= ROW_MAX_KEY);
    memcpy(key.data, name, key.size);
    return key;
}

struct row_key
row_key_entry(int64_t index)
{
    struct row_key key = row_key(ROW_ENTRY);
    DMQ_ASSERT(index > 0 && key.size + 8 <= ROW_MAX_KEY);
    put_be64(key.data + key.size, (uint64_t)index);
    key.size += 8;
    return key;
}

struct row_key
row_key_chunk(int64_t number)
{
    struct row_key key = row_key(ROW_CHUNK);
    DMQ_ASSERT(number >= 0 && number <= UINT32_MAX && key.size + 4 <= ROW_MAX_KEY);
    put_be32(key.data + key.size, (uint32_t)number);
    key.size += 4;
    return key;
}

int64_t
row_number(struct bytes key, const char *prefix, size_t width)
{
    size_t before = strlen(prefix);
    uint8_t digits[8] = {0};
    if (key.size != before + width || memcmp(key.data, prefix, before) != 0) {
        return -1;
    }
    memcpy(digits + sizeof(digits) - width, key.data + before, width);
    uint64_t number = get_be64(digits);
    return number > MAX_NUMBER ? -1 : (int64_t)number;
}

int64_t
row_chunks(int64_t size)
{
    return (size + ROW_CHUNK_BYTES - 1) / ROW_CHUNK_BYTES;
}

/* ---- encoding -------------------------------------------------------------------------------- */

static struct buf *
encoded(const struct struct_desc *desc, const void *row)
{
    struct buf *buf = msg_encode_buf(desc, ROW_VERSION, row);
    DMQ_ASSERT(buf != NULL); /* the daemons abort without memory */
    return buf;
}

struct buf *
row_encode_state(const struct raft_persist *write, int64_t writes)
{
    const struct raft_state_row row = {.version = ROW_VERSION,
                                       .term = write->term,
                                       .vote = {write->vote.node, write->vote.disk},
                                       .commit = write->commit,
                                       .prev_index = write->prev_index,
                                       .prev_term = write->prev_term,
                                       .writes = writes};
    return encoded(desc_raft_state_row(), &row);
}

struct buf *
row_encode_entry(const struct raft_entry *entry)
{
    struct raft_entry_row row = {.version = ROW_VERSION,
                                 .item = {.term = entry->term, .kind = (int8_t)entry->kind}};
    DMQ_ASSERT((entry->payload == NULL) == (entry->kind == RAFT_ENTRY_NOOP));
    if (entry->payload != NULL) {
        row.item.payload = buf_bytes(entry->payload);
    }
    return encoded(desc_raft_entry_row(), &row);
}

struct buf *
row_encode_snapshot(const struct raft_snapshot *snapshot)
{
    struct raft_seat seats[RAFT_MAX_MEMBERS];
    struct raft_snapshot_row row = {.version = ROW_VERSION,
                                    .index = snapshot->index,
                                    .term = snapshot->term,
                                    .members = seats,
                                    .members_count = snapshot->members.count};
    DMQ_ASSERT(snapshot->members.count <= RAFT_MAX_MEMBERS);
    for (uint32_t i = 0; i < snapshot->members.count; i++) {
        const struct raft_member *member = &snapshot->members.at[i];
        seats[i] = (struct raft_seat){member->id.node, member->id.disk, member->voter};
    }
    if (snapshot->data != NULL) {
        row.size = (int64_t)snapshot->data->size;
        row.crc = crc32c(0, snapshot->data->data, snapshot->data->size);
    }
    return encoded(desc_raft_snapshot_row(), &row);
}

/* ---- decoding -------------------------------------------------------------------------------- */

static bool
is_newer(struct bytes value)
{
    struct reader reader;
    uint32_t count;
    int64_t version;
    reader_init(&reader, value);
    return reader_array(&reader, &count) && count > 0 &&
           reader_int(&reader, 0, INT16_MAX, &version) && version > ROW_VERSION;
}

static dmq_err
decode(const struct struct_desc *desc, struct bytes value, const char *what, struct arena *arena,
       void *ret_row, struct err_msg *err)
{
    struct err_msg why;
    if (is_newer(value)) {
        return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION,
                       "%s of the store was written by a newer version of dmq: use that", what);
    }
    dmq_err failed = msg_decode(desc, ROW_VERSION, value, arena, ret_row, &why);
    if (failed == DMQ_ERR_NOMEM) {
        return err_set(err, failed, "out of memory reading %s of the store", what);
    }
    if (failed != DMQ_OK) {
        return err_set(err, DMQ_ERR_DAMAGED, "%s of the store is damaged: %s", what, why.text);
    }
    return DMQ_OK;
}

static bool
in_range(const int64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] < 0 || numbers[i] > MAX_NUMBER) {
            return false;
        }
    }
    return true;
}

dmq_err
row_decode_state(struct bytes value, struct raft_saved *saved, int64_t *ret_writes,
                 struct err_msg *err)
{
    struct raft_state_row row;
    struct arena arena;
    arena_init(&arena, ROW_MEMORY);
    dmq_err failed = decode(desc_raft_state_row(), value, "the state", &arena, &row, err);
    arena_deinit(&arena);
    if (failed != DMQ_OK) {
        return failed;
    }
    const int64_t numbers[] = {row.term,       row.vote.node, row.commit,
                               row.prev_index, row.prev_term, row.writes};
    bool nobody = row.vote.node == 0 && uuid_is_zero(row.vote.disk);
    if (!in_range(numbers, sizeof(numbers) / sizeof(numbers[0])) || row.version != ROW_VERSION ||
        (row.vote.node == 0 && !nobody) || (!nobody && row.term == 0) || row.writes == 0) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "the state of the store is damaged: a number is out of range");
    }
    saved->term = row.term;
    saved->vote = (struct raft_id){row.vote.node, row.vote.disk};
    saved->commit = row.commit;
    saved->prev_index = row.prev_index;
    saved->prev_term = row.prev_term;
    *ret_writes = row.writes;
    return DMQ_OK;
}

/* Whether a payload may go with a kind: what Raft asserts of its log. */
static bool
item_valid(const struct raft_item *item)
{
    struct raft_members members;
    switch (item->kind) {
    case RAFT_ENTRY_NOOP:
        return item->payload.size == 0;
    case RAFT_ENTRY_DATA:
        return true;
    case RAFT_ENTRY_MEMBERS:
        return raft_members_decode(item->payload, &members);
    default:
        return false;
    }
}

dmq_err
row_decode_entry(struct bytes value, int64_t index, struct raft_entry *ret_entry,
                 struct err_msg *err)
{
    struct raft_entry_row row;
    struct arena arena;
    char what[40];
    snprintf(what, sizeof(what), "entry %" PRId64, index);
    arena_init(&arena, ROW_MEMORY);
    dmq_err failed = decode(desc_raft_entry_row(), value, what, &arena, &row, err);
    arena_deinit(&arena);
    if (failed != DMQ_OK) {
        return failed;
    }
    if (row.version != ROW_VERSION || row.item.term < 1 || row.item.term > MAX_NUMBER ||
        !item_valid(&row.item)) {
        return err_set(err, DMQ_ERR_DAMAGED,
                       "%s of the store is damaged: its payload does not fit its kind, or its term "
                       "is out of range",
                       what);
    }
    struct raft_entry entry = {.term = row.item.term, .kind = (enum raft_entry_kind)row.item.kind};
    if (entry.kind != RAFT_ENTRY_NOOP) {
        entry.payload = buf_copy(row.item.payload);
        if (entry.payload == NULL) {
            return err_set(err, DMQ_ERR_NOMEM, "out of memory reading %s", what);
        }
    }
    *ret_entry = entry;
    return DMQ_OK;
}

/* A list that Raft could have put into a snapshot: as one in the log is checked. */
static bool
take_members(const struct raft_snapshot_row *row, struct raft_members *ret_members)
{
    struct raft_members members = {.count = row->members_count};
    if (row->members_count > RAFT_MAX_MEMBERS) {
        return false;
    }
    for (uint32_t i = 0; i < row->members_count; i++) {
        const struct raft_seat *seat = &row->members[i];
        members.at[i] = (struct raft_member){{seat->node, seat->disk}, seat->voter};
    }
    struct buf *list = raft_members_encode(&members);
    bool valid = raft_members_decode(buf_bytes(list), ret_members);
    buf_unref(list);
    return valid;
}

static bool
snapshot_valid(const struct raft_snapshot_row *row)
{
    const int64_t numbers[] = {row->index, row->term, row->size, row->crc};
    bool founding = row->index == 0;
    return row->version == ROW_VERSION && in_range(numbers, sizeof(numbers) / sizeof(numbers[0])) &&
           row->crc <= UINT32_MAX && row->size <= RAFT_MAX_SNAPSHOT_BYTES &&
           founding == (row->term == 0) && !(founding && row->size > 0);
}

dmq_err
row_decode_snapshot(struct bytes value, struct raft_snapshot *ret_snapshot,
                    struct row_snapshot_data *ret_data, struct err_msg *err)
{
    struct raft_snapshot_row row;
    struct raft_snapshot snapshot = {0};
    struct arena arena;
    arena_init(&arena, ROW_MEMORY);
    dmq_err failed = decode(desc_raft_snapshot_row(), value, "the snapshot", &arena, &row, err);
    if (failed == DMQ_OK && (!snapshot_valid(&row) || !take_members(&row, &snapshot.members))) {
        failed = err_set(err, DMQ_ERR_DAMAGED,
                         "the snapshot of the store is damaged: its members or a number cannot be");
    }
    arena_deinit(&arena);
    if (failed != DMQ_OK) {
        return failed;
    }
    snapshot.index = row.index;
    snapshot.term = row.term;
    *ret_snapshot = snapshot;
    *ret_data = (struct row_snapshot_data){row.size, (uint32_t)row.crc};
    return DMQ_OK;
}
