/* Writes structs of the one table with msgpack-c's packer. Nothing here depends on input from
 * outside: whoever fills a struct keeps to the limits of the table, which is asserted. */
#include "libdmq/wire/codec.h"

#include <msgpack.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/utf8.h"
#include "libdmq/wire/desc.h"

static int
put(void *data, const char *bytes, size_t size)
{
    struct outbuf *out = data;
    outbuf_put(out, bytes, size);
    return out->failed ? -1 : 0;
}

static void encode_struct(msgpack_packer *packer, const struct struct_desc *desc, int version,
                          const void *msg);

static void
encode_value(msgpack_packer *packer, const struct field_desc *field, int version, const void *at)
{
    const struct bytes *bytes = at;
    switch (field->kind) {
    case KIND_boolean:
        if (*(const bool *)at) {
            msgpack_pack_true(packer);
        } else {
            msgpack_pack_false(packer);
        }
        return;
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        msgpack_pack_int64(packer, kind_load(field->kind, at));
        return;
    case KIND_uuid:
        msgpack_pack_bin_with_body(packer, at, sizeof(struct uuid));
        return;
    case KIND_str:
        DMQ_ASSERT(field->list || bytes->size <= field->limit);
        DMQ_DEBUG_ASSERT(utf8_valid(*bytes));
        msgpack_pack_str_with_body(packer, bytes->data, bytes->size);
        return;
    case KIND_bytes:
        DMQ_ASSERT(field->list || bytes->size <= field->limit);
        msgpack_pack_bin_with_body(packer, bytes->data, bytes->size);
        return;
    case KIND_struct:
        encode_struct(packer, field->sub(), version, at);
        return;
    }
    DMQ_UNREACHABLE();
}

static void
encode_field(msgpack_packer *packer, const struct field_desc *field, int version, const void *msg)
{
    if (!field->list) {
        encode_value(packer, field, version, (const char *)msg + field->offset);
        return;
    }
    struct list_view list = field_list(field, msg);
    size_t size = field_value_size(field);
    DMQ_ASSERT(list.count <= field->limit);
    msgpack_pack_array(packer, list.count);
    for (uint32_t i = 0; i < list.count; i++) {
        encode_value(packer, field, version, (const char *)list.items + i * size);
    }
}

static void
encode_struct(msgpack_packer *packer, const struct struct_desc *desc, int version, const void *msg)
{
    size_t count = desc_fields_at(desc, version);
    msgpack_pack_array(packer, count);
    for (size_t i = 0; i < count; i++) {
        encode_field(packer, &desc->fields[i], version, msg);
    }
}

void
msg_encode(const struct struct_desc *desc, int version, const void *msg, struct outbuf *out)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, put);
    encode_struct(&packer, desc, version, msg);
}

struct buf *
msg_encode_buf(const struct struct_desc *desc, int version, const void *msg)
{
    struct outbuf out = {0};
    msg_encode(desc, version, msg, &out);
    return outbuf_take(&out);
}

void
record_encode(int type, const void *body, struct outbuf *out)
{
    const struct record_desc *record = record_find(type);
    DMQ_ASSERT(record != NULL);
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, put);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_int32(&packer, record->type);
    msgpack_pack_int32(&packer, record->version);
    encode_struct(&packer, record->body(), record->version, body);
}
