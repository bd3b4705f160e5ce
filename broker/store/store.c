#include "broker/store/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "libdmq/store/kv_leveldb.h"

dmq_err
store_open(const char *data_dir, bool may_be_new, struct kv **ret_kv, struct err_msg *err)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/store", data_dir);
    dmq_err failed = kv_leveldb_open(path, may_be_new, ret_kv, err);
    if (failed != DMQ_OK && !may_be_new) {
        char why[sizeof(err->text)];
        snprintf(why, sizeof(why), "%s", err->text);
        err_set(err, failed,
                "%s; the folder has data, so an empty store will not do: give the broker an empty "
                "folder, or restore this one",
                why);
    }
    return failed;
}

static dmq_err
collect(void *arg, struct bytes key, struct bytes value)
{
    struct store_rows *rows = arg;
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
        struct store_row *grown = realloc(rows->rows, capacity * sizeof(*grown));
        if (grown == NULL) {
            return DMQ_ERR_NOMEM;
        }
        rows->rows = grown;
        rows->capacity = capacity;
    }
    rows->rows[rows->count++] = (struct store_row){.key.size = key.size, .value.size = value.size};
    outbuf_put(&rows->bytes, key.data, key.size);
    outbuf_put(&rows->bytes, value.data, value.size);
    return rows->bytes.failed ? DMQ_ERR_NOMEM : DMQ_OK;
}

dmq_err
store_read(struct kv *kv, struct bytes prefix, struct store_rows *ret_rows)
{
    struct store_rows rows = {0};
    dmq_err failed = kv->ops->scan(kv, prefix, collect, &rows);
    if (failed != DMQ_OK) {
        store_rows_deinit(&rows);
        return failed;
    }
    const uint8_t *at = rows.bytes.data;
    for (size_t i = 0; i < rows.count; i++) {
        rows.rows[i].key.data = at;
        at += rows.rows[i].key.size;
        rows.rows[i].value.data = at;
        at += rows.rows[i].value.size;
    }
    *ret_rows = rows;
    return DMQ_OK;
}

void
store_rows_deinit(struct store_rows *rows)
{
    free(rows->rows);
    outbuf_deinit(&rows->bytes);
    *rows = (struct store_rows){0};
}
