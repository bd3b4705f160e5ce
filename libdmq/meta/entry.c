#include "libdmq/meta/entry.h"

#include <inttypes.h>

#include "libdmq/meta/image_internal.h"

/* What one record may decode to. */
#define RECORD_ARENA_BYTES (1u << 20)

/* Applies the records in order until one is refused. rows may be NULL. */
static dmq_err
apply_records(struct image *image, const struct metadata_entry *entry, struct meta_rows *rows,
              struct err_msg *err)
{
    dmq_err result = DMQ_OK;
    struct arena arena;
    arena_init(&arena, RECORD_ARENA_BYTES);
    for (uint32_t i = 0; i < entry->records_count && result == DMQ_OK; i++) {
        struct meta_record record;
        arena_reset(&arena);
        result = record_decode(entry->records[i], &arena, &record, err);
        if (result == DMQ_OK && rows != NULL) {
            meta_rows_touch(rows, image, &record);
        }
        if (result == DMQ_OK) {
            result = meta_apply(image, &record, err);
        }
        if (result != DMQ_OK) {
            struct err_msg reason = *err;
            err_set(err, result, "metadata version %" PRId64 ", record %" PRIu32 ": %.190s",
                    entry->version, i, reason.text);
        }
    }
    arena_deinit(&arena);
    return result;
}

dmq_err
meta_apply_entry(struct image *image, const struct metadata_entry *entry, struct meta_rows *rows,
                 struct err_msg *err)
{
    size_t rows_before = rows != NULL ? rows->count : 0;
    if (entry->version != image->version + 1 || entry->term < image->term) {
        return err_set(err, DMQ_ERR_STALE_METADATA,
                       "metadata version %" PRId64 " of term %" PRId64
                       " does not follow version %" PRId64 " of term %" PRId64,
                       entry->version, entry->term, image->version, image->term);
    }
    meta_undo_begin(image);
    dmq_err result = apply_records(image, entry, rows, err);
    if (result != DMQ_OK) {
        meta_undo_rollback(image);
        if (rows != NULL) {
            rows->count = rows_before;
        }
        return result;
    }
    meta_advance(image, entry->version, entry->term);
    meta_undo_commit(image);
    return DMQ_OK;
}

/* Builds an image from nothing. */
static dmq_err
build(struct image *image, const struct metadata_entry *snapshot, struct err_msg *err)
{
    if (snapshot->version < 0 || snapshot->term < 0) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "metadata snapshot: its version is negative");
    }
    image_loading_begin(image);
    dmq_err result = apply_records(image, snapshot, NULL, err);
    bool names_differ = image_loading_end(image);
    if (result == DMQ_OK && !names_differ) {
        result =
            err_set(err, DMQ_ERR_INVALID_REQUEST, "metadata snapshot: two topics have one name");
    }
    if (result == DMQ_OK) {
        image_set_version(image, snapshot->version, snapshot->term);
    }
    return result;
}

dmq_err
meta_install(struct image **image, const struct metadata_entry *snapshot, struct meta_rows *rows,
             struct err_msg *err)
{
    struct image *built = image_new();
    dmq_err result = build(built, snapshot, err);
    if (result != DMQ_OK) {
        image_free(built);
        return result;
    }
    DMQ_ASSERT(!meta_undo_active(*image));
    if (rows != NULL) {
        meta_rows_touch_all(rows, *image);
        meta_rows_touch_all(rows, built);
    }
    image_free(*image);
    *image = built;
    return DMQ_OK;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

struct snapshot {
    struct outbuf out;
    dmq_err (*emit)(void *arg, struct bytes record);
    void *arg;
    dmq_err result; /* the first error; nothing is emitted after it */
};

static void
emit_record(struct snapshot *snapshot, int type, const void *body)
{
    if (snapshot->result != DMQ_OK) {
        return;
    }
    outbuf_clear(&snapshot->out);
    record_encode(type, body, &snapshot->out);
    snapshot->result =
        snapshot->out.failed
            ? DMQ_ERR_NOMEM
            : snapshot->emit(snapshot->arg, bytes_of(snapshot->out.data, snapshot->out.size));
}

static void
emit_topic(struct snapshot *snapshot, const struct image_topic *topic)
{
    emit_record(snapshot, RECORD_TOPIC, topic->record);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        emit_record(snapshot, RECORD_PARTITION, topic->partitions[i]);
    }
}

dmq_err
meta_snapshot(const struct image *image, dmq_err (*emit)(void *arg, struct bytes record), void *arg)
{
    struct snapshot snapshot = {.emit = emit, .arg = arg};
    const struct cluster_record cluster = {image->cluster_id};
    const struct producer_ids_record ids = {-1, -1, image->next_producer_id};
    if (!uuid_is_zero(cluster.cluster_id)) {
        emit_record(&snapshot, RECORD_CLUSTER, &cluster);
    }
    if (ids.next_producer_id != 0) {
        emit_record(&snapshot, RECORD_PRODUCER_IDS, &ids);
    }
    for (uint32_t i = 0; i < image->spent_count; i++) {
        emit_record(&snapshot, RECORD_REQUEST_SPENT, &image->spent[i]);
    }
    for (uint32_t i = 0; i < image->broker_count; i++) {
        emit_record(&snapshot, RECORD_BROKER, image->brokers[i]);
    }
    for (uint32_t i = 0; i < image->topic_count; i++) {
        emit_topic(&snapshot, &image->topics[i]->topic);
    }
    outbuf_deinit(&snapshot.out);
    return snapshot.result;
}
