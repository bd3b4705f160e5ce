/* Arbitrary rows and an arbitrary second copy: load never crashes, and leaves alone what it calls
 * damaged. What it accepts holds: Raft starts with it, writes to it, and finds it again.
 *
 *   flags 1, rows: kind 1, number 4, size 2, value; the rest, if no row fits: the second copy */
#include <stdlib.h>

#include "controller/store/internal.h"
#include "libdmq/base/crc32c.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/simfs.h"
#include "tests/support/mem_kv.h"
#include "tests/support/raft_writes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    COPY_FITS = 1, /* is made of the rows: no fuzzer guesses it */
    FIX_DATA = 2,  /* size and checksum of the snapshot become those of its only piece */
    CREATE = 4,
    ROW_BYTES = 7,
    ROUNDS = 8
};

enum row_kind { ENTRY, SNAPSHOT, CHUNK, STATE, OTHER, KINDS };

#define DIR "/data"

static struct mem_kv mem;
static struct simfs *disk;

/* ---- what is found --------------------------------------------------------------------------- */

static void
put(struct row_key key, struct bytes value)
{
    const struct kv_op op = {.key = bytes_of(key.data, key.size), .value = value};
    mem.kv.ops->write(&mem.kv, &op, 1, true);
}

static struct row_key
key_of(enum row_kind kind, uint32_t number)
{
    struct row_key key = {.size = 4};
    switch (kind) {
    case ENTRY:
        return row_key_entry((int64_t)number + 1);
    case SNAPSHOT:
        return row_key(ROW_SNAPSHOT);
    case CHUNK:
        return row_key_chunk(number);
    case STATE:
        return row_key(ROW_STATE);
    case OTHER:
    case KINDS:
        break;
    }
    put_be32(key.data, number);
    return key;
}

/* The row that a snapshot of this piece would have, with what the given one says beside. */
static void
fix_snapshot(struct bytes value, struct bytes piece)
{
    struct raft_snapshot_row row;
    struct arena arena;
    struct err_msg err;
    arena_init(&arena, (size_t)1 << 20);
    if (msg_decode(desc_raft_snapshot_row(), 0, value, &arena, &row, &err) == DMQ_OK) {
        row.size = (int64_t)piece.size;
        row.crc = crc32c(0, piece.data, piece.size);
        struct buf *fixed = msg_encode_buf(desc_raft_snapshot_row(), 0, &row);
        DMQ_ASSERT(fixed != NULL);
        put(row_key(ROW_SNAPSHOT), buf_bytes(fixed));
        buf_unref(fixed);
    }
    arena_deinit(&arena);
}

/* Rows up to the first that does not fit; returns what is left. */
static struct bytes
put_rows(struct bytes rest, bool fix)
{
    struct bytes snapshot = bytes_of(NULL, 0), piece = bytes_of(NULL, 0);
    while (rest.size >= ROW_BYTES && rest.data[0] < KINDS) {
        enum row_kind kind = (enum row_kind)rest.data[0];
        size_t size = get_be16(rest.data + 5);
        struct bytes value = bytes_of(rest.data + ROW_BYTES, size);
        if (size > rest.size - ROW_BYTES) {
            break;
        }
        put(key_of(kind, get_be32(rest.data + 1)), value);
        snapshot = kind == SNAPSHOT ? value : snapshot;
        piece = kind == CHUNK ? value : piece;
        rest = bytes_of(value.data + size, rest.size - ROW_BYTES - size);
    }
    if (fix) {
        fix_snapshot(snapshot, piece);
    }
    return rest;
}

static void
put_fitting_copy(void)
{
    struct second_copy copy;
    struct raft_saved saved;
    struct err_msg err;
    int64_t writes;
    if (raft_load(&mem.kv, &saved, &writes, &err) != DMQ_OK) {
        return;
    }
    struct second_copy_values values = {.writes = writes,
                                        .term = saved.term,
                                        .vote = saved.vote,
                                        .last_index = saved.prev_index + saved.count,
                                        .last_term = saved.prev_term};
    if (saved.count > 0) {
        values.last_term = saved.entries[saved.count - 1].term;
    }
    second_copy_init(&copy, simfs_fs(disk), DIR);
    dmq_err failed = second_copy_make(&copy, &values, &err);
    DMQ_ASSERT(failed == DMQ_OK);
    second_copy_deinit(&copy);
    raft_saved_free(&saved);
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

static dmq_err
load(bool create, struct raft_store **ret_store, struct raft_saved *ret_saved)
{
    struct err_msg err;
    *ret_store = raft_store_new(&mem.kv, simfs_fs(disk), DIR, create);
    dmq_err failed = raft_store_load(*ret_store, ret_saved, &err);
    DMQ_ASSERT(failed == DMQ_OK || failed == DMQ_ERR_DAMAGED ||
               failed == DMQ_ERR_UNSUPPORTED_VERSION);
    DMQ_ASSERT(failed == DMQ_OK || err.text[0] != '\0');
    return failed;
}

/* Found again as it is in memory, but for the commit index: that on the disk is a floor. */
static void
check_again(const struct raft *raft)
{
    struct raft_store *store;
    struct raft_saved saved;
    dmq_err failed = load(false, &store, &saved);
    DMQ_ASSERT(failed == DMQ_OK);
    DMQ_ASSERT(saved.term == raft->term && raft_id_equal(saved.vote, raft->vote));
    DMQ_ASSERT(saved.prev_index == raft->log.prev_index && saved.count == raft->log.count);
    DMQ_ASSERT(saved.commit <= raft->commit && saved.snapshot.index == raft->snapshot.index);
    raft_saved_free(&saved);
    raft_store_close(store);
}

/* A node alone elects itself and commits; any other one stands for election. */
static void
run_raft(struct raft_store *store, const struct raft_saved *saved)
{
    static struct raft raft;
    static struct raft_effects effects;
    struct raft_config config;
    struct raft_event event = {.kind = RAFT_TICK};
    raft_config_defaults(&config);
    config.self = raft_test_id(1, 1);
    raft_init(&raft, &config, saved, 0);
    for (int round = 0; round < ROUNDS; round++) {
        raft_step(&raft, &event, &effects);
        event = (struct raft_event){.kind = RAFT_TICK, .now_ms = (round + 1) * 1000};
        for (uint32_t i = 0; i < effects.count; i++) {
            if (effects.items[i].kind == RAFT_PERSIST) {
                const struct raft_persist *write = &effects.items[i].u.persist;
                dmq_err failed = raft_store_write(store, write);
                DMQ_ASSERT(failed == DMQ_OK);
                event.kind = RAFT_PERSISTED;
                event.u.persisted = write->seq;
            }
        }
    }
    raft_store_close(store);
    if (raft.persist_seq == raft.synced_seq) {
        check_again(&raft);
    }
    raft_deinit(&raft);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_store *store;
    struct raft_saved saved;
    if (size == 0) {
        return 0;
    }
    mem_kv_init(&mem);
    disk = simfs_new(1);
    simfs_make_folder(disk, DIR);
    struct bytes rest = put_rows(bytes_of(data + 1, size - 1), (data[0] & FIX_DATA) != 0);
    if ((data[0] & COPY_FITS) != 0) {
        put_fitting_copy();
    } else if (rest.size > 0) {
        simfs_put_file(disk, DIR "/" SECOND_COPY_NAME, rest);
    }
    uint64_t digest = simfs_digest(disk);
    if (load((data[0] & CREATE) != 0, &store, &saved) == DMQ_OK) {
        run_raft(store, &saved);
        raft_saved_free(&saved);
    } else {
        DMQ_ASSERT(simfs_digest(disk) == digest);
        raft_store_close(store);
    }
    mem_kv_deinit(&mem);
    simfs_free(disk);
    return 0;
}
