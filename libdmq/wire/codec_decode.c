/* Reads structs of the one table with the bounds-checked cursor.
 *
 * - A list is allocated only when its count is within the table's limit and the bytes that remain
 *   can hold so many of the smallest elements; what a frame can make us allocate is thus a small
 *   multiple of its own size, and the arena's limit holds for all of it together.
 * - Recursion follows the table, not the input: it is as deep as the table is nested. */
#include "libdmq/wire/codec.h"

#include <inttypes.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/desc.h"
#include "libdmq/wire/reader.h"

struct decoder {
    struct reader reader;
    struct arena *arena;
    struct err_msg *err;
    int version;
    bool exact; /* unknown fields at the end are an error: stored records */
};

/* The value at the cursor is bad: the sentence names struct, field and byte. */
static dmq_err
refuse_field(struct decoder *decoder, const struct struct_desc *desc,
             const struct field_desc *field, const char *why)
{
    return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST, "%s.%s (%s%s) at byte %zu: %s",
                   desc->name, field->name, field->list ? "list of " : "", kind_name(field->kind),
                   reader_pos(&decoder->reader), why);
}

static dmq_err
refuse_struct(struct decoder *decoder, const struct struct_desc *desc, const char *why)
{
    return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST, "%s at byte %zu: %s", desc->name,
                   reader_pos(&decoder->reader), why);
}

static dmq_err decode_struct(struct decoder *decoder, const struct struct_desc *desc, void *msg);

static dmq_err
decode_bytes(struct decoder *decoder, const struct struct_desc *desc,
             const struct field_desc *field, struct bytes *at)
{
    struct reader before = decoder->reader;
    bool ok = field->kind == KIND_str ? reader_str(&decoder->reader, at)
                                      : reader_bytes(&decoder->reader, at);
    if (!ok) {
        return refuse_field(decoder, desc, field, decoder->reader.why);
    }
    /* Of a list of str or bytes the limit is that of the count. */
    if (!field->list && at->size > field->limit) {
        decoder->reader = before;
        return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST,
                       "%s.%s (%s) at byte %zu: it has %zu bytes, at most %" PRIu32 " are allowed",
                       desc->name, field->name, kind_name(field->kind),
                       reader_pos(&decoder->reader), at->size, field->limit);
    }
    return DMQ_OK;
}

static dmq_err
decode_value(struct decoder *decoder, const struct struct_desc *desc,
             const struct field_desc *field, void *at)
{
    struct reader *reader = &decoder->reader;
    int64_t number = 0;
    bool ok = false;
    switch (field->kind) {
    case KIND_boolean:
        ok = reader_bool(reader, at);
        break;
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        ok = reader_int(reader, kind_min(field->kind), kind_max(field->kind), &number);
        if (ok) {
            kind_store(field->kind, at, number);
        }
        break;
    case KIND_uuid:
        ok = reader_uuid(reader, at);
        break;
    case KIND_str:
    case KIND_bytes:
        return decode_bytes(decoder, desc, field, at);
    case KIND_struct:
        return decode_struct(decoder, field->sub(), at);
    }
    return ok ? DMQ_OK : refuse_field(decoder, desc, field, reader->why);
}

static dmq_err
decode_list(struct decoder *decoder, const struct struct_desc *desc, const struct field_desc *field,
            void *msg)
{
    struct list_view list = {0};
    size_t size = field_value_size(field);
    struct reader before = decoder->reader;
    if (!reader_array(&decoder->reader, &list.count)) {
        return refuse_field(decoder, desc, field, decoder->reader.why);
    }
    size_t most = reader_left(&decoder->reader) / field_wire_min(field, decoder->version);
    if (list.count > field->limit || list.count > most) {
        decoder->reader = before;
        return refuse_field(decoder, desc, field,
                            list.count > field->limit
                                ? "it has more elements than are allowed"
                                : "it declares more elements than the frame can hold");
    }
    if (list.count > 0) {
        list.items = arena_alloc(decoder->arena, size * list.count);
        if (list.items == NULL) {
            return err_set(decoder->err, DMQ_ERR_NOMEM,
                           "%s.%s: %" PRIu32 " elements need more memory than one message may take",
                           desc->name, field->name, list.count);
        }
    }
    for (uint32_t i = 0; i < list.count; i++) {
        dmq_err err = decode_value(decoder, desc, field, (char *)list.items + i * size);
        if (err != DMQ_OK) {
            return err;
        }
    }
    field_set_list(field, msg, list);
    return DMQ_OK;
}

/* Passes over the fields that a newer peer sent behind those that we know. */
static dmq_err
skip_unknown(struct decoder *decoder, const struct struct_desc *desc, size_t count)
{
    if (count > 0 && decoder->exact) {
        return refuse_struct(decoder, desc, "it has more fields than its version has");
    }
    for (size_t i = 0; i < count; i++) {
        if (!reader_skip(&decoder->reader)) {
            return refuse_struct(decoder, desc, decoder->reader.why);
        }
    }
    return DMQ_OK;
}

static dmq_err
decode_struct(struct decoder *decoder, const struct struct_desc *desc, void *msg)
{
    size_t known = desc_fields_at(desc, decoder->version);
    uint32_t count;
    struct reader before = decoder->reader;
    if (!reader_array(&decoder->reader, &count)) {
        return refuse_struct(decoder, desc, decoder->reader.why);
    }
    if (count < known) {
        decoder->reader = before;
        return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST,
                       "%s at byte %zu: it has %" PRIu32 " fields, %zu are needed: %s is missing",
                       desc->name, reader_pos(&decoder->reader), count, known,
                       desc->fields[count].name);
    }
    memset(msg, 0, desc->size); /* newer fields are zero */
    for (size_t i = 0; i < known; i++) {
        const struct field_desc *field = &desc->fields[i];
        dmq_err err = field->list ? decode_list(decoder, desc, field, msg)
                                  : decode_value(decoder, desc, field, (char *)msg + field->offset);
        if (err != DMQ_OK) {
            return err;
        }
    }
    return skip_unknown(decoder, desc, count - known);
}

/* The frame must end where the message does. */
static dmq_err
check_end(struct decoder *decoder, const struct struct_desc *desc)
{
    if (reader_left(&decoder->reader) == 0) {
        return DMQ_OK;
    }
    return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST,
                   "%s ends at byte %zu, but %zu bytes follow in its frame", desc->name,
                   reader_pos(&decoder->reader), reader_left(&decoder->reader));
}

dmq_err
msg_decode(const struct struct_desc *desc, int version, struct bytes frame, struct arena *arena,
           void *msg, struct err_msg *err)
{
    struct decoder decoder = {.arena = arena, .err = err, .version = version};
    reader_init(&decoder.reader, frame);
    dmq_err result = decode_struct(&decoder, desc, msg);
    return result == DMQ_OK ? check_end(&decoder, desc) : result;
}

/* [type, version, and leaves the cursor at the fields. */
static dmq_err
decode_record_head(struct decoder *decoder, const struct record_desc **ret_desc)
{
    struct reader *reader = &decoder->reader;
    uint32_t count;
    int64_t type;
    int64_t version;
    if (!reader_array(reader, &count) || !reader_int(reader, 0, INT32_MAX, &type) ||
        !reader_int(reader, 0, INT32_MAX, &version)) {
        return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST,
                       "record: its head at byte %zu is bad: %s", reader_pos(reader), reader->why);
    }
    if (count != 3) {
        return err_set(decoder->err, DMQ_ERR_INVALID_REQUEST,
                       "record: it is an array of %" PRIu32 ", not [type, version, fields]", count);
    }
    const struct record_desc *desc = record_find((int)type);
    if (desc == NULL || version > desc->version) {
        return err_set(decoder->err, DMQ_ERR_UNSUPPORTED_VERSION,
                       "record of type %" PRId64 ", version %" PRId64
                       " is not known: this program is older than what wrote it",
                       type, version);
    }
    decoder->version = (int)version;
    *ret_desc = desc;
    return DMQ_OK;
}

dmq_err
record_decode(struct bytes frame, struct arena *arena, struct meta_record *ret_record,
              struct err_msg *err)
{
    struct decoder decoder = {.arena = arena, .err = err, .exact = true};
    struct meta_record record = {0};
    reader_init(&decoder.reader, frame);
    dmq_err result = decode_record_head(&decoder, &record.desc);
    if (result != DMQ_OK) {
        return result;
    }
    const struct struct_desc *body = record.desc->body();
    DMQ_ASSERT(body->size <= sizeof(record.u));
    result = decode_struct(&decoder, body, &record.u);
    if (result == DMQ_OK) {
        result = check_end(&decoder, body);
    }
    if (result == DMQ_OK) {
        *ret_record = record;
    }
    return result;
}
