#include "controller/store/second_copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/crc32c.h"

/* A slot: magic 8, version 4, writes 8, term 8, vote 4 and 16, last index 8, last term 8, CRC32C of
 * what stands before it 4; big-endian. All of it lies in one sector. */
#define MAGIC "DMQQUORM"
#define MAGIC_BYTES 8
#define VERSION 0
#define POS_VERSION 8
#define POS_WRITES 12
#define POS_TERM 20
#define POS_VOTE_NODE 28
#define POS_VOTE_DISK 32
#define POS_LAST_INDEX 48
#define POS_LAST_TERM 56
#define POS_CRC 64
#define SLOT_USED 68
#define SLOTS 2

bool
second_copy_equal(const struct second_copy_values *a, const struct second_copy_values *b)
{
    return a->writes == b->writes && a->term == b->term && raft_id_equal(a->vote, b->vote) &&
           a->last_index == b->last_index && a->last_term == b->last_term;
}

void
second_copy_init(struct second_copy *copy, struct fs *fs, const char *data_dir)
{
    *copy = (struct second_copy){.fs = fs};
    int size = snprintf(copy->path, sizeof(copy->path), "%s/%s", data_dir, SECOND_COPY_NAME);
    DMQ_ASSERT(size > 0 && (size_t)size < sizeof(copy->path));
}

void
second_copy_deinit(struct second_copy *copy)
{
    if (copy->file != NULL) {
        copy->fs->ops->close(copy->file);
        copy->file = NULL;
    }
}

static dmq_err
failed(const struct second_copy *copy, const char *what, int error, struct err_msg *err)
{
    const char *why = error == ENOSPC || error == EDQUOT ? ": the disk is full"
                      : error == EIO                     ? ": the disk failed"
                                                         : "";
    return err_set(err, DMQ_ERR_IO, "%s %s failed with error %d%s", what, copy->path, error, why);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void
encode_slot(const struct second_copy_values *values, uint8_t slot[SLOT_USED])
{
    memcpy(slot, MAGIC, MAGIC_BYTES);
    put_be32(slot + POS_VERSION, VERSION);
    put_be64(slot + POS_WRITES, (uint64_t)values->writes);
    put_be64(slot + POS_TERM, (uint64_t)values->term);
    put_be32(slot + POS_VOTE_NODE, (uint32_t)values->vote.node);
    memcpy(slot + POS_VOTE_DISK, values->vote.disk.b, sizeof(values->vote.disk.b));
    put_be64(slot + POS_LAST_INDEX, (uint64_t)values->last_index);
    put_be64(slot + POS_LAST_TERM, (uint64_t)values->last_term);
    put_be32(slot + POS_CRC, crc32c(0, slot, POS_CRC));
}

static size_t
slot_of(int64_t writes)
{
    return (size_t)(writes % SLOTS);
}

static bool
slot_whole(const uint8_t *slot)
{
    return memcmp(slot, MAGIC, MAGIC_BYTES) == 0 &&
           get_be32(slot + POS_CRC) == crc32c(0, slot, POS_CRC);
}

/* False for a slot that is not whole, or stands where another one belongs. */
static bool
decode_slot(const uint8_t *slot, size_t place, struct second_copy_values *ret_values)
{
    if (!slot_whole(slot) || get_be32(slot + POS_VERSION) != VERSION) {
        return false;
    }
    struct second_copy_values values = {
        .writes = (int64_t)get_be64(slot + POS_WRITES),
        .term = (int64_t)get_be64(slot + POS_TERM),
        .vote.node = (int32_t)get_be32(slot + POS_VOTE_NODE),
        .last_index = (int64_t)get_be64(slot + POS_LAST_INDEX),
        .last_term = (int64_t)get_be64(slot + POS_LAST_TERM),
    };
    memcpy(values.vote.disk.b, slot + POS_VOTE_DISK, sizeof(values.vote.disk.b));
    if (values.writes < 0 || values.writes > INT64_MAX / 2 || slot_of(values.writes) != place) {
        return false;
    }
    *ret_values = values;
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static dmq_err
choose(const struct second_copy *copy, const uint8_t *slots, enum second_copy_state *ret_state,
       struct second_copy_values *ret_values, struct err_msg *err)
{
    *ret_state = SECOND_COPY_BAD;
    for (size_t i = 0; i < SLOTS; i++) {
        const uint8_t *slot = slots + i * SECOND_COPY_SLOT_BYTES;
        struct second_copy_values values;
        if (slot_whole(slot) && get_be32(slot + POS_VERSION) > VERSION) {
            return err_set(err, DMQ_ERR_UNSUPPORTED_VERSION,
                           "%s was written by a newer version of dmq: use that", copy->path);
        }
        bool whole = decode_slot(slot, i, &values);
        if (whole && (*ret_state != SECOND_COPY_GOOD || values.writes > ret_values->writes)) {
            *ret_state = SECOND_COPY_GOOD;
            *ret_values = values;
        }
    }
    return DMQ_OK;
}

dmq_err
second_copy_read(struct second_copy *copy, enum second_copy_state *ret_state,
                 struct second_copy_values *ret_values, struct err_msg *err)
{
    uint8_t slots[SLOTS * SECOND_COPY_SLOT_BYTES] = {0}; /* a shorter file ends in nothing whole */
    size_t size;
    DMQ_ASSERT(copy->file == NULL);
    *ret_values = (struct second_copy_values){0};
    int error = copy->fs->ops->open(copy->fs, copy->path, FS_READ | FS_WRITE, &copy->file);
    if (error == ENOENT) {
        copy->file = NULL;
        *ret_state = SECOND_COPY_MISSING;
        return DMQ_OK;
    }
    if (error != 0) {
        copy->file = NULL;
        return failed(copy, "opening", error, err);
    }
    error = copy->fs->ops->pread(copy->file, slots, sizeof(slots), 0, &size);
    if (error != 0) {
        return failed(copy, "reading", error, err);
    }
    return choose(copy, slots, ret_state, ret_values, err);
}

/* ---- writing --------------------------------------------------------------------------------- */

static dmq_err
write_synced(struct second_copy *copy, struct bytes bytes, uint64_t pos, struct err_msg *err)
{
    int error = copy->fs->ops->pwritev(copy->file, &bytes, 1, pos);
    if (error != 0) {
        return failed(copy, "writing", error, err);
    }
    error = copy->fs->ops->datasync(copy->file);
    return error == 0 ? DMQ_OK : failed(copy, "syncing", error, err);
}

dmq_err
second_copy_make(struct second_copy *copy, const struct second_copy_values *values,
                 struct err_msg *err)
{
    uint8_t slots[SLOTS * SECOND_COPY_SLOT_BYTES] = {0};
    second_copy_deinit(copy);
    int error =
        copy->fs->ops->open(copy->fs, copy->path, FS_READ | FS_WRITE | FS_CREATE, &copy->file);
    if (error != 0) {
        copy->file = NULL;
        return failed(copy, "making", error, err);
    }
    error = copy->fs->ops->truncate(copy->file, 0); /* of a file that a crash left, or worse */
    if (error != 0) {
        return failed(copy, "making", error, err);
    }
    encode_slot(values, slots + slot_of(values->writes) * SECOND_COPY_SLOT_BYTES);
    return write_synced(copy, bytes_of(slots, sizeof(slots)), 0, err);
}

dmq_err
second_copy_write(struct second_copy *copy, const struct second_copy_values *values,
                  struct err_msg *err)
{
    uint8_t slot[SLOT_USED];
    DMQ_ASSERT(copy->file != NULL && values->writes >= 0);
    encode_slot(values, slot);
    return write_synced(copy, bytes_of(slot, sizeof(slot)),
                        slot_of(values->writes) * SECOND_COPY_SLOT_BYTES, err);
}
