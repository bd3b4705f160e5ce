#include "controller/store/store.h"

#include <inttypes.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "libdmq/store/kv_leveldb.h"

#define PREFIX "log/"
#define PREFIX_SIZE 4
#define KEY_SIZE (PREFIX_SIZE + 8)

dmq_err
ctl_store_open(const char *data_dir, bool create, struct kv **ret_kv, struct err_msg *err)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/store", data_dir);
    return kv_leveldb_open(path, create, ret_kv, err);
}

dmq_err
ctl_store_append(struct kv *kv, int64_t version, struct bytes entry)
{
    uint8_t key[KEY_SIZE];
    DMQ_ASSERT(version > 0);
    memcpy(key, PREFIX, PREFIX_SIZE);
    put_be64(key + PREFIX_SIZE, (uint64_t)version);
    const struct kv_op op = {.key = bytes_of(key, sizeof(key)), .value = entry};
    return kv->ops->write(kv, &op, 1, true);
}

struct loading {
    ctl_store_found *found;
    void *arg;
    int64_t next;
    struct err_msg *err;
};

static dmq_err
take_row(void *arg, struct bytes key, struct bytes value)
{
    struct loading *loading = arg;
    if (key.size != KEY_SIZE) {
        return err_set(loading->err, DMQ_ERR_DAMAGED, "a key of %zu bytes stands in the log",
                       key.size);
    }
    int64_t version = (int64_t)get_be64(key.data + PREFIX_SIZE);
    if (version != loading->next) {
        return err_set(loading->err, DMQ_ERR_DAMAGED,
                       "entry %" PRId64 " of the log is missing, entry %" PRId64 " is there",
                       loading->next, version);
    }
    loading->next++;
    return loading->found(loading->arg, version, value);
}

dmq_err
ctl_store_load(struct kv *kv, ctl_store_found *found, void *arg, struct err_msg *err)
{
    struct loading loading = {.found = found, .arg = arg, .next = 1, .err = err};
    err_set(err, DMQ_OK, "%s", "");
    dmq_err code = kv->ops->scan(kv, bytes_str(PREFIX), take_row, &loading);
    if (code != DMQ_OK && err->code == DMQ_OK) {
        return err_set(err, code, "the store cannot be read: %s", err_text(code));
    }
    return code;
}
