/* Objects are walked key by key, so that an unknown key is found; recursion follows the table, not
 * the input. */
#include "libdmq/wire/codec_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/base64.h"
#include "libdmq/base/nearest.h"
#include "libdmq/wire/desc.h"
#include "libdmq/wire/json_name.h"

/* More fields than any struct of the table has. */
#define MOST_FIELDS 32

struct parser {
    struct arena *arena;
    struct err_msg *err;
    const char *key; /* being read */
};

#define REFUSE(parser, ...) err_set((parser)->err, DMQ_ERR_INVALID_REQUEST, __VA_ARGS__)

static dmq_err
no_memory(struct parser *parser)
{
    return err_set(parser->err, DMQ_ERR_NOMEM,
                   "\"%.60s\" needs more memory than one request may take", parser->key);
}

static dmq_err parse_object(struct parser *parser, const struct struct_desc *desc,
                            const json_t *json, void *msg);

static dmq_err
parse_int(struct parser *parser, const struct field_desc *field, const json_t *json, void *at)
{
    int64_t min = kind_min(field->kind);
    int64_t max = kind_max(field->kind);
    if (!json_is_integer(json) || json_integer_value(json) < min ||
        json_integer_value(json) > max) {
        return REFUSE(parser, "\"%.60s\" must be a whole number from %" PRId64 " to %" PRId64,
                      parser->key, min, max);
    }
    kind_store(field->kind, at, json_integer_value(json));
    return DMQ_OK;
}

static dmq_err
parse_uuid(struct parser *parser, const json_t *json, struct uuid *at)
{
    /* A NUL inside ends the text for uuid_parse, hence the size. */
    if (!json_is_string(json) || json_string_length(json) != 32 ||
        !uuid_parse(json_string_value(json), at)) {
        return REFUSE(parser, "\"%.60s\" must be a string of 32 hexadecimal digits", parser->key);
    }
    return DMQ_OK;
}

/* str and bytes: limit 0 is none (values of a list). */
static dmq_err
parse_text(struct parser *parser, const struct field_desc *field, const json_t *json,
           struct bytes *at)
{
    bool base64 = field->kind == KIND_bytes;
    if (!json_is_string(json)) {
        return REFUSE(parser, "\"%.60s\" must be a string%s", parser->key,
                      base64 ? " of base64" : "");
    }
    struct bytes text = bytes_of(json_string_value(json), json_string_length(json));
    size_t size = base64 ? base64_data_max(text.size) : text.size;
    uint8_t *data = arena_alloc(parser->arena, size);
    if (data == NULL) {
        return no_memory(parser);
    }
    if (!base64) {
        memcpy(data, text.data, size);
    } else if (!base64_decode(text, data, &size)) {
        return REFUSE(parser, "\"%.60s\" must be a string of base64", parser->key);
    }
    if (!field->list && size > field->limit) {
        return REFUSE(parser, "\"%.60s\" has %zu bytes, at most %" PRIu32 " are allowed",
                      parser->key, size, field->limit);
    }
    *at = bytes_of(data, size);
    return DMQ_OK;
}

static dmq_err
parse_value(struct parser *parser, const struct field_desc *field, const json_t *json, void *at)
{
    switch (field->kind) {
    case KIND_boolean:
        if (!json_is_boolean(json)) {
            return REFUSE(parser, "\"%.60s\" must be true or false", parser->key);
        }
        *(bool *)at = json_is_true(json);
        return DMQ_OK;
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        return parse_int(parser, field, json, at);
    case KIND_uuid:
        return parse_uuid(parser, json, at);
    case KIND_str:
    case KIND_bytes:
        return parse_text(parser, field, json, at);
    case KIND_struct:
        return parse_object(parser, field->sub(), json, at);
    }
    DMQ_UNREACHABLE();
}

/* The array for a list of count values. */
static dmq_err
make_list(struct parser *parser, const struct field_desc *field, size_t count,
          struct list_view *ret_list)
{
    if (count > field->limit) {
        return REFUSE(parser, "\"%.60s\" has %zu values, at most %" PRIu32 " are allowed",
                      parser->key, count, field->limit);
    }
    void *items = arena_alloc(parser->arena, field_value_size(field) * count);
    if (items == NULL) {
        return no_memory(parser);
    }
    *ret_list = (struct list_view){items, (uint32_t)count};
    return DMQ_OK;
}

/* A number stands for its digits, true and false for their words. */
static json_t *
config_text(const json_t *json)
{
    char digits[24];
    if (json_is_integer(json)) {
        snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        return json_string(digits);
    }
    if (json_is_boolean(json)) {
        return json_string(json_is_true(json) ? "true" : "false");
    }
    return json_incref((json_t *)json);
}

/* A name with its value: settings are strings in the table. */
static dmq_err
parse_setting(struct parser *parser, const char *name, const json_t *json, struct bytes *ret_name,
              struct bytes *ret_value)
{
    const struct struct_desc *desc = desc_config_entry(); /* limits as those of config_change */
    json_t *key = json_string(name);
    json_t *value = config_text(json);
    parser->key = name;
    dmq_err err = key != NULL && value != NULL ? DMQ_OK : no_memory(parser);
    if (err == DMQ_OK) {
        err = parse_text(parser, &desc->fields[0], key, ret_name);
    }
    if (err == DMQ_OK) {
        err = parse_text(parser, &desc->fields[1], value, ret_value);
    }
    json_decref(key);
    json_decref(value);
    return err;
}

static dmq_err
parse_entry(struct parser *parser, const char *name, const json_t *json, void *at)
{
    struct config_entry *entry = at;
    return parse_setting(parser, name, json, &entry->name, &entry->value);
}

/* null takes the setting away. */
static dmq_err
parse_change(struct parser *parser, const char *name, const json_t *json, void *at)
{
    struct config_change *change = at;
    json_t *nothing = json_string("");
    change->remove = json_is_null(json);
    dmq_err err =
        parse_setting(parser, name, change->remove ? nothing : json, &change->name, &change->value);
    json_decref(nothing);
    return err;
}

/* A list of config_entry or config_change. */
static dmq_err
parse_config(struct parser *parser, const struct field_desc *field, const json_t *json, void *msg)
{
    struct list_view list = {0};
    const char *name;
    json_t *value;
    if (!json_is_object(json)) {
        return REFUSE(parser, "\"%.60s\" must be an object of names and values", parser->key);
    }
    dmq_err err = make_list(parser, field, json_object_size(json), &list);
    if (err != DMQ_OK) {
        return err;
    }
    char *at = list.items;
    json_object_foreach((json_t *)json, name, value)
    {
        err = field->sub == desc_config_change ? parse_change(parser, name, value, at)
                                               : parse_entry(parser, name, value, at);
        if (err != DMQ_OK) {
            return err;
        }
        at += field_value_size(field);
    }
    field_set_list(field, msg, list);
    return DMQ_OK;
}

static dmq_err
parse_list(struct parser *parser, const struct field_desc *field, const json_t *json, void *msg)
{
    struct list_view list = {0};
    size_t size = field_value_size(field);
    const char *key = parser->key;
    if (field->sub == desc_config_entry || field->sub == desc_config_change) {
        return parse_config(parser, field, json, msg);
    }
    if (!json_is_array(json)) {
        return REFUSE(parser, "\"%.60s\" must be an array", key);
    }
    dmq_err err = make_list(parser, field, json_array_size(json), &list);
    for (uint32_t i = 0; i < list.count && err == DMQ_OK; i++) {
        parser->key = key; /* that of an object inside may be there */
        err = parse_value(parser, field, json_array_get(json, i), (char *)list.items + i * size);
    }
    if (err == DMQ_OK) {
        field_set_list(field, msg, list);
    }
    return err;
}

static dmq_err
refuse_key(struct parser *parser, const struct struct_desc *desc, const char *key)
{
    char names[MOST_FIELDS][JSON_NAME_MAX];
    const char *candidates[MOST_FIELDS];
    DMQ_ASSERT(desc->field_count <= MOST_FIELDS);
    for (size_t i = 0; i < desc->field_count; i++) {
        candidates[i] = json_name(desc->fields[i].name, names[i]);
    }
    const char *nearest = nearest_of(bytes_str(key), candidates, desc->field_count);
    return REFUSE(parser, "unknown key \"%.60s\"%s%s%s", key,
                  nearest != NULL ? ": did you mean \"" : "", nearest != NULL ? nearest : "",
                  nearest != NULL ? "\"?" : "");
}

static const struct field_desc *
find_field(const struct struct_desc *desc, const char *key)
{
    char name[JSON_NAME_MAX];
    for (size_t i = 0; i < desc->field_count; i++) {
        if (strcmp(json_name(desc->fields[i].name, name), key) == 0) {
            return &desc->fields[i];
        }
    }
    return NULL;
}

static dmq_err
parse_object(struct parser *parser, const struct struct_desc *desc, const json_t *json, void *msg)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json)) {
        return REFUSE(parser, "\"%.60s\" must be an object", parser->key);
    }
    json_object_foreach((json_t *)json, key, value)
    {
        const struct field_desc *field = find_field(desc, key);
        if (field == NULL) {
            return refuse_key(parser, desc, key);
        }
        parser->key = key;
        dmq_err err = field->list ? parse_list(parser, field, value, msg)
                                  : parse_value(parser, field, value, (char *)msg + field->offset);
        if (err != DMQ_OK) {
            return err;
        }
    }
    return DMQ_OK;
}

static dmq_err
parse_body(const struct struct_desc *desc, const json_t *json, struct arena *arena, void *msg,
           struct err_msg *err)
{
    struct parser parser = {.arena = arena, .err = err, .key = "the body"};
    if (!json_is_object(json)) {
        return REFUSE(&parser, "the body must be a JSON object");
    }
    return parse_object(&parser, desc, json, msg);
}

dmq_err
msg_from_json_text(const struct struct_desc *desc, struct bytes text, struct arena *arena,
                   void *msg, struct err_msg *err)
{
    json_error_t bad;
    json_t *json = json_loadb(text.size > 0 ? (const char *)text.data : "", text.size,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &bad);
    if (json == NULL) {
        bool number = json_error_code(&bad) == json_error_numeric_overflow;
        return err_set(err, DMQ_ERR_INVALID_REQUEST, "%s: line %d: %.160s",
                       number ? "the body holds a number that is too large"
                              : "the body is not JSON",
                       bad.line, bad.text);
    }
    dmq_err result = parse_body(desc, json, arena, msg, err);
    json_decref(json);
    return result;
}
