/* A key-value store in memory, in order of keys, for tests of what is built on kv.h. */
#ifndef TESTS_SUPPORT_MEM_KV_H
#define TESTS_SUPPORT_MEM_KV_H

#include "libdmq/base/kv.h"

struct mem_kv_row {
    uint8_t *key;
    size_t key_size;
    uint8_t *value;
    size_t value_size;
};

struct mem_kv {
    struct kv kv; /* first */
    struct mem_kv_row *rows;
    size_t count;
    size_t capacity;
};

void mem_kv_init(struct mem_kv *mem);
void mem_kv_deinit(struct mem_kv *mem);

#endif
