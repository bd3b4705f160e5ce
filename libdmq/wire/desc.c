#include "libdmq/wire/desc.h"

#include "libdmq/base/assert.h"

size_t
desc_fields_at(const struct struct_desc *desc, int version)
{
    size_t count = 0;
    while (count < desc->field_count && desc->fields[count].since <= version) {
        count++;
    }
    return count;
}

size_t
field_value_size(const struct field_desc *field)
{
    switch (field->kind) {
    case KIND_boolean:
        return sizeof(bool);
    case KIND_i8:
        return sizeof(int8_t);
    case KIND_i16:
        return sizeof(int16_t);
    case KIND_i32:
        return sizeof(int32_t);
    case KIND_i64:
        return sizeof(int64_t);
    case KIND_uuid:
        return sizeof(struct uuid);
    case KIND_str:
    case KIND_bytes:
        return sizeof(struct bytes);
    case KIND_struct:
        return field->sub()->size;
    }
    DMQ_UNREACHABLE();
}

size_t
field_wire_min(const struct field_desc *field, int version)
{
    switch (field->kind) {
    case KIND_boolean:
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
    case KIND_str:
        return 1;
    case KIND_bytes:
        return 2; /* bin 8: type and size */
    case KIND_uuid:
        return 2 + sizeof(struct uuid);
    case KIND_struct:
        break;
    }
    const struct struct_desc *desc = field->sub();
    size_t fields = desc_fields_at(desc, version);
    size_t size = fields <= 15 ? 1 : 3; /* fixarray or array 16 */
    for (size_t i = 0; i < fields; i++) {
        size += desc->fields[i].list ? 1 : field_wire_min(&desc->fields[i], version);
    }
    return size;
}

int64_t
kind_min(enum field_kind kind)
{
    switch (kind) {
    case KIND_boolean:
        return 0;
    case KIND_i8:
        return INT8_MIN;
    case KIND_i16:
        return INT16_MIN;
    case KIND_i32:
        return INT32_MIN;
    case KIND_i64:
        return INT64_MIN;
    default:
        DMQ_UNREACHABLE();
    }
}

int64_t
kind_max(enum field_kind kind)
{
    switch (kind) {
    case KIND_boolean:
        return 1;
    case KIND_i8:
        return INT8_MAX;
    case KIND_i16:
        return INT16_MAX;
    case KIND_i32:
        return INT32_MAX;
    case KIND_i64:
        return INT64_MAX;
    default:
        DMQ_UNREACHABLE();
    }
}

const char *
kind_name(enum field_kind kind)
{
    static const char *const names[] = {
        [KIND_boolean] = "boolean", [KIND_i8] = "i8",       [KIND_i16] = "i16",
        [KIND_i32] = "i32",         [KIND_i64] = "i64",     [KIND_uuid] = "uuid",
        [KIND_str] = "str",         [KIND_bytes] = "bytes", [KIND_struct] = "struct",
    };
    DMQ_ASSERT((size_t)kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}

int64_t
kind_load(enum field_kind kind, const void *at)
{
    switch (kind) {
    case KIND_boolean:
        return *(const bool *)at ? 1 : 0;
    case KIND_i8:
        return *(const int8_t *)at;
    case KIND_i16:
        return *(const int16_t *)at;
    case KIND_i32:
        return *(const int32_t *)at;
    case KIND_i64:
        return *(const int64_t *)at;
    default:
        DMQ_UNREACHABLE();
    }
}

void
kind_store(enum field_kind kind, void *at, int64_t value)
{
    DMQ_ASSERT(value >= kind_min(kind) && value <= kind_max(kind));
    switch (kind) {
    case KIND_boolean:
        *(bool *)at = value != 0;
        return;
    case KIND_i8:
        *(int8_t *)at = (int8_t)value;
        return;
    case KIND_i16:
        *(int16_t *)at = (int16_t)value;
        return;
    case KIND_i32:
        *(int32_t *)at = (int32_t)value;
        return;
    case KIND_i64:
        *(int64_t *)at = value;
        return;
    default:
        DMQ_UNREACHABLE();
    }
}

struct list_view
field_list(const struct field_desc *field, const void *msg)
{
    DMQ_ASSERT(field->list);
    struct list_view list;
    memcpy(&list.items, (const char *)msg + field->offset, sizeof(list.items));
    memcpy(&list.count, (const char *)msg + field->count_offset, sizeof(list.count));
    DMQ_ASSERT(list.items != NULL || list.count == 0);
    return list;
}

void
field_set_list(const struct field_desc *field, void *msg, struct list_view list)
{
    DMQ_ASSERT(field->list);
    memcpy((char *)msg + field->offset, &list.items, sizeof(list.items));
    memcpy((char *)msg + field->count_offset, &list.count, sizeof(list.count));
}
