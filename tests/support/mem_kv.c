#include "tests/support/mem_kv.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"

static int
compare(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static struct bytes
key_of(const struct mem_kv_row *row)
{
    return bytes_of(row->key, row->key_size);
}

/* Index of the first row whose key is not below. */
static size_t
lower_bound(const struct mem_kv *mem, struct bytes key)
{
    size_t low = 0;
    size_t high = mem->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(key_of(&mem->rows[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint8_t *
copy(struct bytes bytes)
{
    uint8_t *data = malloc(bytes.size + 1);
    DMQ_ASSERT(data != NULL);
    if (bytes.size > 0) {
        memcpy(data, bytes.data, bytes.size);
    }
    return data;
}

static void
remove_row(struct mem_kv *mem, size_t index)
{
    free(mem->rows[index].key);
    free(mem->rows[index].value);
    mem->count--;
    memmove(mem->rows + index, mem->rows + index + 1, (mem->count - index) * sizeof(*mem->rows));
}

static void
insert_row(struct mem_kv *mem, size_t index, const struct kv_op *op)
{
    if (mem->count == mem->capacity) {
        mem->capacity = mem->capacity * 2 + 16;
        mem->rows = realloc(mem->rows, mem->capacity * sizeof(*mem->rows));
        DMQ_ASSERT(mem->rows != NULL);
    }
    memmove(mem->rows + index + 1, mem->rows + index, (mem->count - index) * sizeof(*mem->rows));
    mem->count++;
    mem->rows[index] =
        (struct mem_kv_row){copy(op->key), op->key.size, copy(op->value), op->value.size};
}

static dmq_err
write_batch(struct kv *kv, const struct kv_op *ops, size_t count, bool sync)
{
    struct mem_kv *mem = (struct mem_kv *)kv;
    (void)sync;
    for (size_t i = 0; i < count; i++) {
        size_t index = lower_bound(mem, ops[i].key);
        if (index < mem->count && compare(key_of(&mem->rows[index]), ops[i].key) == 0) {
            remove_row(mem, index);
        }
        if (!ops[i].remove) {
            insert_row(mem, index, &ops[i]);
        }
    }
    return DMQ_OK;
}

static dmq_err
scan(struct kv *kv, struct bytes prefix,
     dmq_err (*found)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    struct mem_kv *mem = (struct mem_kv *)kv;
    for (size_t i = lower_bound(mem, prefix); i < mem->count; i++) {
        const struct mem_kv_row *row = &mem->rows[i];
        if (row->key_size < prefix.size || memcmp(row->key, prefix.data, prefix.size) != 0) {
            break;
        }
        dmq_err err = found(arg, key_of(row), bytes_of(row->value, row->value_size));
        if (err != DMQ_OK) {
            return err;
        }
    }
    return DMQ_OK;
}

static void
nothing_to_close(struct kv *kv)
{
    (void)kv;
}

void
mem_kv_init(struct mem_kv *mem)
{
    static const struct kv_ops ops = {write_batch, scan, nothing_to_close};
    *mem = (struct mem_kv){.kv = {&ops}};
}

void
mem_kv_deinit(struct mem_kv *mem)
{
    while (mem->count > 0) {
        remove_row(mem, mem->count - 1);
    }
    free(mem->rows);
}
