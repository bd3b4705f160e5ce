#include "tests/support/random_msg.h"

#include "libdmq/base/assert.h"
#include "libdmq/wire/desc.h"

static struct_desc_fn *const descs[] = {
#define STRUCT(name, doc) desc_##name,
#include "libdmq/wire/messages.def"
};

size_t
message_count(void)
{
    return sizeof(descs) / sizeof(descs[0]);
}

const struct struct_desc *
message_desc(size_t index)
{
    DMQ_ASSERT(index < message_count());
    return descs[index]();
}

static int64_t
random_number(struct rng *rng, int64_t min, int64_t max)
{
    switch (rng_below(rng, 5)) {
    case 0:
        return min;
    case 1:
        return max;
    case 2:
        return rng_range(rng, min < -200 ? -200 : min, max > 200 ? 200 : max);
    default:
        return rng_range(rng, min, max);
    }
}

/* Mostly small, at times 0 or the limit (of at most 5000). */
static size_t
random_size(struct rng *rng, size_t limit)
{
    size_t most = limit < 5000 ? limit : 5000;
    switch (rng_below(rng, 8)) {
    case 0:
        return 0;
    case 1:
        return most;
    default:
        return (size_t)rng_below(rng, (most < 40 ? most : 40) + 1);
    }
}

/* Characters of 1 to 4 bytes, cut to whole ones. */
static struct bytes
random_text(struct rng *rng, struct arena *arena, size_t limit)
{
    static const char *const pieces[] = {"a", "Z", "0", ".", "\"",  "\\", "\n", "\x01",
                                         "ü", "߿", "ࠀ", "€", "퟿", "𐀀",  "😀", "\x7f"};
    size_t size = random_size(rng, limit);
    uint8_t *text = arena_alloc(arena, size);
    DMQ_ASSERT(text != NULL);
    size_t used = 0;
    while (used < size) {
        const char *piece = pieces[rng_below(rng, sizeof(pieces) / sizeof(pieces[0]))];
        size_t piece_size = strlen(piece);
        if (piece_size <= size - used) {
            memcpy(text + used, piece, piece_size);
            used += piece_size;
        }
    }
    return bytes_of(text, used);
}

static struct bytes
random_bytes(struct rng *rng, struct arena *arena, size_t limit)
{
    size_t size = random_size(rng, limit);
    uint8_t *data = arena_alloc(arena, size);
    DMQ_ASSERT(data != NULL);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)rng_next(rng);
    }
    return bytes_of(data, size);
}

static void
random_value(struct rng *rng, const struct field_desc *field, struct arena *arena, void *at)
{
    size_t limit = field->list ? 300 : field->limit;
    switch (field->kind) {
    case KIND_boolean:
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        kind_store(field->kind, at,
                   random_number(rng, kind_min(field->kind), kind_max(field->kind)));
        return;
    case KIND_uuid:
        *(struct uuid *)at = rng_uuid(rng);
        return;
    case KIND_str:
        *(struct bytes *)at = random_text(rng, arena, limit);
        return;
    case KIND_bytes:
        *(struct bytes *)at = random_bytes(rng, arena, limit);
        return;
    case KIND_struct:
        random_msg(rng, field->sub(), arena, at);
        return;
    }
    DMQ_UNREACHABLE();
}

static void
random_list(struct rng *rng, const struct field_desc *field, struct arena *arena, void *msg)
{
    size_t most = field->kind == KIND_struct ? 5 : 70; /* above 15 the array's head changes */
    size_t size = field_value_size(field);
    struct list_view list = {0};
    list.count = (uint32_t)random_size(rng, field->limit < most ? field->limit : most);
    list.items = arena_alloc(arena, size * list.count);
    DMQ_ASSERT(list.items != NULL);
    for (uint32_t i = 0; i < list.count; i++) {
        random_value(rng, field, arena, (char *)list.items + i * size);
    }
    field_set_list(field, msg, list);
}

void
random_msg(struct rng *rng, const struct struct_desc *desc, struct arena *arena, void *msg)
{
    memset(msg, 0, desc->size);
    for (size_t i = 0; i < desc->field_count; i++) {
        const struct field_desc *field = &desc->fields[i];
        if (field->list) {
            random_list(rng, field, arena, msg);
        } else {
            random_value(rng, field, arena, (char *)msg + field->offset);
        }
    }
}

static bool
value_equal(const struct field_desc *field, int version, const void *a, const void *b)
{
    switch (field->kind) {
    case KIND_boolean:
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        return kind_load(field->kind, a) == kind_load(field->kind, b);
    case KIND_uuid:
        return uuid_equal(*(const struct uuid *)a, *(const struct uuid *)b);
    case KIND_str:
    case KIND_bytes:
        return bytes_equal(*(const struct bytes *)a, *(const struct bytes *)b);
    case KIND_struct:
        return msg_equal(field->sub(), version, a, b);
    }
    DMQ_UNREACHABLE();
}

static bool
list_equal(const struct field_desc *field, int version, const void *a, const void *b)
{
    struct list_view list_a = field_list(field, a);
    struct list_view list_b = field_list(field, b);
    size_t size = field_value_size(field);
    if (list_a.count != list_b.count) {
        return false;
    }
    for (uint32_t i = 0; i < list_a.count; i++) {
        const char *item_a = (const char *)list_a.items + i * size;
        const char *item_b = (const char *)list_b.items + i * size;
        if (!value_equal(field, version, item_a, item_b)) {
            return false;
        }
    }
    return true;
}

bool
msg_equal(const struct struct_desc *desc, int version, const void *a, const void *b)
{
    for (size_t i = 0; i < desc_fields_at(desc, version); i++) {
        const struct field_desc *field = &desc->fields[i];
        const char *at_a = (const char *)a + field->offset;
        const char *at_b = (const char *)b + field->offset;
        bool equal = field->list ? list_equal(field, version, a, b)
                                 : value_equal(field, version, at_a, at_b);
        if (!equal) {
            return false;
        }
    }
    return true;
}
