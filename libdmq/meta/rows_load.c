/* Reads the rows back. Each goes through meta_apply like a record from the wire, so a damaged store
 * cannot make an image that breaks its rules; what is missing shows by the digest. */
#include "libdmq/meta/image_internal.h"
#include "libdmq/meta/rows.h"

/* What one row may decode to. */
#define ROW_ARENA_BYTES (1u << 20)

struct loader {
    struct image *image;
    struct image_record whole;
    bool any;       /* there is a row */
    bool has_whole; /* the image row was there */
    struct arena arena;
    struct err_msg *err;
};

/* The row in which a record belongs. */
static struct meta_row
row_of(const struct meta_record *record)
{
    switch ((enum record_type)record->desc->type) {
    case RECORD_BROKER:
        return (struct meta_row){META_ROW_BROKER, {{0}}, record->u.broker.broker_id};
    case RECORD_CLUSTER:
        return (struct meta_row){META_ROW_CLUSTER, {{0}}, 0};
    case RECORD_PRODUCER_IDS:
        return (struct meta_row){META_ROW_IDS, {{0}}, 0};
    case RECORD_TOPIC:
        return (struct meta_row){META_ROW_TOPIC, record->u.topic.topic_id, 0};
    case RECORD_PARTITION:
        return (struct meta_row){META_ROW_PARTITION, record->u.partition.topic_id,
                                 record->u.partition.partition};
    case RECORD_REQUEST_SPENT:
        return (struct meta_row){
            META_ROW_SPENT, {{0}}, (int32_t)(record->u.request_spent.number % META_MAX_SPENT)};
    case RECORD_IMAGE:
    case RECORD_BROKER_CHANGE: /* these two are no rows: their key will not match */
    case RECORD_TOPIC_REMOVED:
        break;
    }
    return (struct meta_row){META_ROW_IMAGE, {{0}}, 0};
}

/* err->text becomes the reason in a sentence that names the row. */
static dmq_err
damaged(struct loader *loader, struct bytes key)
{
    struct err_msg reason = *loader->err;
    dmq_err code =
        reason.code == DMQ_ERR_UNSUPPORTED_VERSION ? DMQ_ERR_UNSUPPORTED_VERSION : DMQ_ERR_DAMAGED;
    int shown = key.size < META_ROW_KEY_SIZE ? (int)key.size : META_ROW_KEY_SIZE;
    return err_set(loader->err, code, "metadata row %.*s: %.150s", shown, (const char *)key.data,
                   reason.text);
}

static dmq_err
take_record(struct loader *loader, const struct meta_record *record)
{
    if (record->desc->type != RECORD_IMAGE) {
        return meta_apply(loader->image, record, loader->err);
    }
    loader->whole = record->u.image;
    loader->has_whole = true;
    return DMQ_OK;
}

static dmq_err
on_row(void *arg, struct bytes key, struct bytes value)
{
    struct loader *loader = arg;
    struct meta_record record;
    char own_key[META_ROW_KEY_SIZE];
    loader->any = true;
    arena_reset(&loader->arena);
    dmq_err result = record_decode(value, &loader->arena, &record, loader->err);
    if (result == DMQ_OK) {
        size_t own_size = meta_row_key(row_of(&record), own_key);
        result = bytes_equal(key, bytes_of(own_key, own_size))
                     ? take_record(loader, &record)
                     : err_set(loader->err, DMQ_ERR_DAMAGED, "it holds another entity");
    }
    return result == DMQ_OK ? DMQ_OK : damaged(loader, key);
}

/* All rows were read: are they all that there were? */
static dmq_err
check_whole(struct loader *loader)
{
    if (!image_loading_end(loader->image)) {
        return err_set(loader->err, DMQ_ERR_DAMAGED, "metadata rows: two topics have one name");
    }
    if (!loader->any) {
        return DMQ_OK;
    }
    if (!loader->has_whole || loader->whole.version < 0 || loader->whole.term < 0) {
        return err_set(loader->err, DMQ_ERR_DAMAGED, "metadata row meta/image is missing or bad");
    }
    image_set_version(loader->image, loader->whole.version, loader->whole.term);
    if (image_digest(loader->image) != (uint64_t)loader->whole.digest) {
        return err_set(loader->err, DMQ_ERR_DAMAGED,
                       "metadata rows: a row is missing or changed, for their digest is not that "
                       "of row meta/image");
    }
    return DMQ_OK;
}

dmq_err
meta_rows_load(struct kv *kv, struct image **ret_image, struct err_msg *err)
{
    struct loader loader = {.image = image_new(), .err = err};
    arena_init(&loader.arena, ROW_ARENA_BYTES);
    *err = (struct err_msg){0};
    image_loading_begin(loader.image);
    dmq_err result = kv->ops->scan(kv, bytes_str(META_ROW_PREFIX), on_row, &loader);
    if (result != DMQ_OK && err->code == DMQ_OK) {
        err_set(err, result, "metadata rows: the store could not be read");
    }
    if (result == DMQ_OK) {
        result = check_whole(&loader);
    }
    arena_deinit(&loader.arena);
    if (result == DMQ_OK) {
        *ret_image = loader.image;
    } else {
        image_free(loader.image);
    }
    return result;
}
