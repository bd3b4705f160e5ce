/* What it costs a controller to keep a write of Raft, and to find all of it again:
 *
 *     bench_raft_store FOLDER [COUNT]
 *
 *   append     4 KiB appended to a file that grows, and fdatasync: what the disk asks for anything
 *   leveldb    the rows of a write alone, synced
 *   copy       the second copy alone: a slot of a file that is there, and fdatasync
 *   copy dsync the same by a file that was opened with O_DSYNC
 *   copy grow  the same appended to a file that grows: what its fixed size saves
 *   write      raft_store_write of one entry of 500 bytes: leveldb and copy
 *
 * COUNT rounds of all of them in turn, so that a disk that slows down does so for all. Then the
 * start of a controller: a snapshot as of 100,000 partitions, and 10,000 entries behind it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/store/raft_store.h"
#include "controller/store/second_copy.h"
#include "libdmq/os/fs_posix.h"
#include "libdmq/store/kv_leveldb.h"
#include "tests/support/timing.h"

#define MAX_COUNT 2000
#define ENTRY_BYTES 500
#define SNAPSHOT_BYTES ((size_t)15 << 20)
#define LOG_ENTRIES 10000
#define ENTRIES_OF_A_WRITE 100
#define SLOT_BYTES 68

enum what { APPEND, LEVELDB, COPY, COPY_DSYNC, COPY_GROW, WRITE, WHATS };

static const char *const names[WHATS] = {"append",     "leveldb",   "copy",
                                         "copy dsync", "copy grow", "write"};

struct bench {
    char folder[300];
    int append_fd;
    int dsync_fd;
    int grow_fd;
    struct kv *kv;
    struct second_copy copy;
    struct raft_store *store;
    struct raft_entry entry;
    double seconds[WHATS][MAX_COUNT];
};

static const char *
path_of(const struct bench *bench, const char *name)
{
    static char path[400];
    snprintf(path, sizeof(path), "%s/%s", bench->folder, name);
    return path;
}

static int
open_file(const struct bench *bench, const char *name, int flags)
{
    int fd = open(path_of(bench, name), O_RDWR | O_CREAT | O_TRUNC | flags, 0600);
    timing_require(fd >= 0, name);
    return fd;
}

static struct raft_store *
open_store(const struct bench *bench, struct raft_saved *ret_saved)
{
    struct raft_store *store;
    struct err_msg err;
    if (raft_store_open(fs_posix(), bench->folder, true, &store, &err) != DMQ_OK ||
        raft_store_load(store, ret_saved, &err) != DMQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return store;
}

static void
set_up(struct bench *bench)
{
    static uint8_t zeroes[8192];
    struct second_copy_values values = {0};
    struct raft_saved saved;
    struct err_msg err;
    bench->append_fd = open_file(bench, "append", 0);
    bench->grow_fd = open_file(bench, "grow", 0);
    bench->dsync_fd = open_file(bench, "dsync", O_DSYNC);
    timing_require(pwrite(bench->dsync_fd, zeroes, sizeof(zeroes), 0) == sizeof(zeroes), "pwrite");
    timing_require(kv_leveldb_open(path_of(bench, "alone"), true, &bench->kv, &err) == DMQ_OK,
                   err.text);
    timing_require(mkdir(path_of(bench, "copy"), 0700) == 0, "mkdir");
    second_copy_init(&bench->copy, fs_posix(), path_of(bench, "copy"));
    timing_require(second_copy_make(&bench->copy, &values, &err) == DMQ_OK, err.text);
    bench->store = open_store(bench, &saved);
    raft_saved_free(&saved);
    bench->entry = (struct raft_entry){1, RAFT_ENTRY_DATA, buf_new(ENTRY_BYTES)};
    timing_require(bench->entry.payload != NULL, "malloc");
    for (size_t i = 0; i < ENTRY_BYTES; i++) {
        bench->entry.payload->data[i] = (uint8_t)(i * 37);
    }
    sync();
}

/* ---- one of each ----------------------------------------------------------------------------- */

static void
append_and_sync(int fd, size_t size, int64_t i)
{
    static uint8_t data[4096];
    data[0] = (uint8_t)i;
    timing_require(pwrite(fd, data, size, (off_t)((int64_t)size * i)) == (ssize_t)size, "pwrite");
    timing_require(fdatasync(fd) == 0, "fdatasync");
}

/* As raft_store_write makes them: an entry and a state. */
static void
write_rows(struct bench *bench, int64_t i)
{
    uint8_t key[14] = "entry/";
    uint8_t state[40] = {0};
    put_be64(key + 6, (uint64_t)i);
    put_be64(state, (uint64_t)i);
    const struct kv_op ops[] = {
        {.key = bytes_of(key, sizeof(key)), .value = buf_bytes(bench->entry.payload)},
        {.key = bytes_str("state"), .value = bytes_of(state, sizeof(state))}};
    timing_require(bench->kv->ops->write(bench->kv, ops, 2, true) == DMQ_OK, "leveldb");
}

static void
write_copy(struct bench *bench, int64_t i)
{
    struct second_copy_values values = {.writes = i, .term = 1, .last_index = i, .last_term = 1};
    struct err_msg err;
    timing_require(second_copy_write(&bench->copy, &values, &err) == DMQ_OK, "second copy");
}

static void
write_entry(struct bench *bench, int64_t i)
{
    const struct raft_persist write = {
        .seq = (uint64_t)i, .term = 1, .from = i, .entries = &bench->entry, .count = 1};
    timing_require(raft_store_write(bench->store, &write) == DMQ_OK, "raft_store_write");
}

static void
do_one(struct bench *bench, enum what what, int64_t i)
{
    uint8_t slot[SLOT_BYTES] = {(uint8_t)i};
    switch (what) {
    case APPEND:
        append_and_sync(bench->append_fd, 4096, i - 1);
        break;
    case LEVELDB:
        write_rows(bench, i);
        break;
    case COPY:
        write_copy(bench, i);
        break;
    case COPY_DSYNC:
        timing_require(pwrite(bench->dsync_fd, slot, SLOT_BYTES, (i % 2) * 4096) == SLOT_BYTES,
                       "pwrite");
        break;
    case COPY_GROW:
        append_and_sync(bench->grow_fd, SLOT_BYTES, i - 1);
        break;
    case WRITE:
    case WHATS:
        write_entry(bench, i);
        break;
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static void
print_figures(struct bench *bench, int count)
{
    for (int what = 0; what < WHATS; what++) {
        double *seconds = bench->seconds[what];
        double total = 0;
        for (int i = 0; i < count; i++) {
            total += seconds[i];
        }
        timing_sort(seconds, (size_t)count);
        printf("%-10s mean %7.0f us, p50 %7.0f, p99 %7.0f, max %7.0f\n", names[what],
               total / count * 1e6, seconds[count / 2] * 1e6, seconds[count * 99 / 100] * 1e6,
               seconds[count - 1] * 1e6);
    }
}

static void
measure_writes(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++) {
        for (int what = 0; what < WHATS; what++) {
            double begin = timing_now();
            do_one(bench, (enum what)what, i + 1);
            bench->seconds[what][i] = timing_now() - begin;
        }
    }
    print_figures(bench, count);
}

static void
measure_start(struct bench *bench, int64_t last)
{
    struct raft_entry entries[ENTRIES_OF_A_WRITE];
    struct raft_snapshot snapshot = {.index = last,
                                     .term = 1,
                                     .members = {1, {{{.node = 1}, true}}},
                                     .data = buf_new(SNAPSHOT_BYTES)};
    timing_require(snapshot.data != NULL, "malloc");
    for (size_t i = 0; i < SNAPSHOT_BYTES; i++) {
        snapshot.data->data[i] = (uint8_t)(i * i >> 7);
    }
    struct raft_persist write = {.seq = (uint64_t)last + 1,
                                 .term = 1,
                                 .from = last + 1,
                                 .prev_index = last,
                                 .prev_term = 1,
                                 .snapshot = &snapshot};
    double begin = timing_now();
    timing_require(raft_store_write(bench->store, &write) == DMQ_OK, "snapshot");
    printf("a snapshot of %zu MiB written: %.0f ms\n", SNAPSHOT_BYTES >> 20,
           (timing_now() - begin) * 1e3);
    for (int i = 0; i < ENTRIES_OF_A_WRITE; i++) {
        entries[i] = bench->entry;
    }
    write.snapshot = NULL;
    write.entries = entries;
    write.count = ENTRIES_OF_A_WRITE;
    for (int i = 0; i < LOG_ENTRIES / ENTRIES_OF_A_WRITE; i++) {
        timing_require(raft_store_write(bench->store, &write) == DMQ_OK, "entries");
        write.from += ENTRIES_OF_A_WRITE;
    }
    buf_unref(snapshot.data);
    raft_store_close(bench->store);
    for (int i = 0; i < 2; i++) { /* the second start finds LevelDB's log in a table */
        struct raft_saved saved;
        begin = timing_now();
        bench->store = open_store(bench, &saved);
        double took = timing_now() - begin;
        timing_require(saved.count == LOG_ENTRIES && saved.snapshot.data->size == SNAPSHOT_BYTES,
                       "load");
        printf("opened and loaded, with %d entries: %.0f ms\n", LOG_ENTRIES, took * 1e3);
        raft_saved_free(&saved);
        raft_store_close(bench->store);
    }
}

int
main(int argc, char **argv)
{
    static struct bench bench;
    int count = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 400;
    if (argc < 2 || argc > 3 || count < 1 || count > MAX_COUNT) {
        fprintf(stderr, "usage: bench_raft_store FOLDER [COUNT]   an empty one; COUNT 1 to %d\n",
                MAX_COUNT);
        return 2;
    }
    snprintf(bench.folder, sizeof(bench.folder), "%s", argv[1]);
    set_up(&bench);
    measure_writes(&bench, count);
    measure_start(&bench, count);
    bench.kv->ops->close(bench.kv);
    second_copy_deinit(&bench.copy);
    buf_unref(bench.entry.payload);
    close(bench.append_fd);
    close(bench.grow_fd);
    close(bench.dsync_fd);
    return 0;
}
