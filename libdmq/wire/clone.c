/* The same walk runs twice: first without memory, to add up the size, then to copy. */
#include "libdmq/wire/clone.h"

#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/desc.h"

struct block {
    char *base; /* NULL: only adding up */
    size_t used;
};

/* Room for size bytes, aligned for every struct of the table; NULL while adding up. */
static void *
take(struct block *block, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    void *memory = block->base != NULL ? block->base + block->used : NULL;
    block->used += (size + align - 1) / align * align;
    return memory;
}

static void copy_parts(struct block *block, const struct struct_desc *desc, const void *msg,
                       void *copy);

/* What a value that is already copied bytewise refers to. */
static void
copy_value_parts(struct block *block, const struct field_desc *field, const void *at, void *copy)
{
    if (field->kind == KIND_struct) {
        copy_parts(block, field->sub(), at, copy);
        return;
    }
    if (field->kind != KIND_str && field->kind != KIND_bytes) {
        return;
    }
    struct bytes from = *(const struct bytes *)at;
    void *to = take(block, from.size);
    if (to != NULL && from.size > 0) {
        memcpy(to, from.data, from.size);
        *(struct bytes *)copy = bytes_of(to, from.size);
    }
}

static void
copy_list(struct block *block, const struct field_desc *field, const void *msg, void *copy)
{
    struct list_view list = field_list(field, msg);
    size_t size = field_value_size(field);
    char *items = take(block, size * list.count);
    if (items != NULL) {
        if (list.count > 0) {
            memcpy(items, list.items, size * list.count);
        }
        field_set_list(field, copy, (struct list_view){items, list.count});
    }
    for (uint32_t i = 0; i < list.count; i++) {
        const char *from = (const char *)list.items + i * size;
        copy_value_parts(block, field, from, items != NULL ? items + i * size : NULL);
    }
}

/* copy, NULL while adding up, is a bytewise copy of msg. */
static void
copy_parts(struct block *block, const struct struct_desc *desc, const void *msg, void *copy)
{
    for (size_t i = 0; i < desc->field_count; i++) {
        const struct field_desc *field = &desc->fields[i];
        if (field->list) {
            copy_list(block, field, msg, copy);
        } else {
            copy_value_parts(block, field, (const char *)msg + field->offset,
                             copy != NULL ? (char *)copy + field->offset : NULL);
        }
    }
}

void *
msg_clone(const struct struct_desc *desc, const void *msg)
{
    struct block block = {0};
    take(&block, desc->size);
    copy_parts(&block, desc, msg, NULL);
    size_t size = block.used;

    block = (struct block){.base = malloc(size)};
    if (block.base == NULL) {
        return NULL;
    }
    void *copy = take(&block, desc->size);
    memcpy(copy, msg, desc->size);
    copy_parts(&block, desc, msg, copy);
    DMQ_ASSERT(block.used == size);
    return copy;
}
