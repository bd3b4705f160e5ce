/* jansson's constructors return NULL without memory, and its setters take a NULL as a failure: so
 * the value is passed on unseen and one check at each setter is enough. */
#include "libdmq/wire/codec_json.h"

#include <jansson.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/base64.h"
#include "libdmq/wire/desc.h"
#include "libdmq/wire/json_name.h"

static json_t *
text_value(struct bytes text)
{
    return json_stringn(text.size > 0 ? (const char *)text.data : "", text.size);
}

static json_t *
base64_value(struct bytes bytes)
{
    size_t size = base64_text_size(bytes.size);
    char *text = malloc(size + 1);
    if (text == NULL) {
        return NULL;
    }
    base64_encode(bytes, text);
    json_t *value = json_stringn(text, size);
    free(text);
    return value;
}

static json_t *make_object(const struct struct_desc *desc, const void *msg);

static json_t *
make_value(const struct field_desc *field, const void *at)
{
    char id[UUID_TEXT_SIZE];
    switch (field->kind) {
    case KIND_boolean:
        return json_boolean(*(const bool *)at);
    case KIND_i8:
    case KIND_i16:
    case KIND_i32:
    case KIND_i64:
        return json_integer(kind_load(field->kind, at));
    case KIND_uuid:
        return json_string(uuid_text(*(const struct uuid *)at, id));
    case KIND_str:
        return text_value(*(const struct bytes *)at);
    case KIND_bytes:
        return base64_value(*(const struct bytes *)at);
    case KIND_struct:
        return make_object(field->sub(), at);
    }
    DMQ_UNREACHABLE();
}

static int
set_setting(json_t *object, struct bytes name, json_t *value)
{
    const char *key = name.size > 0 ? (const char *)name.data : "";
    return json_object_setn_new(object, key, name.size, value);
}

/* A list of config_entry. */
static json_t *
make_config(const struct config_entry *entries, uint32_t count)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < count; i++) {
        if (set_setting(object, entries[i].name, text_value(entries[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* A list of config_change. */
static json_t *
make_changes(const struct config_change *changes, uint32_t count)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < count; i++) {
        json_t *value = changes[i].remove ? json_null() : text_value(changes[i].value);
        if (set_setting(object, changes[i].name, value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *
make_list(const struct field_desc *field, const void *msg)
{
    struct list_view list = field_list(field, msg);
    size_t size = field_value_size(field);
    if (field->sub == desc_config_entry) {
        return make_config(list.items, list.count);
    }
    if (field->sub == desc_config_change) {
        return make_changes(list.items, list.count);
    }
    json_t *array = json_array();
    for (uint32_t i = 0; i < list.count; i++) {
        if (json_array_append_new(array, make_value(field, (const char *)list.items + i * size)) !=
            0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *
make_object(const struct struct_desc *desc, const void *msg)
{
    char key[JSON_NAME_MAX];
    json_t *object = json_object();
    for (size_t i = 0; i < desc->field_count; i++) {
        const struct field_desc *field = &desc->fields[i];
        json_t *value = field->list ? make_list(field, msg)
                                    : make_value(field, (const char *)msg + field->offset);
        if (json_object_set_new(object, json_name(field->name, key), value) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

char *
msg_to_json_text(const struct struct_desc *desc, const void *msg)
{
    json_t *json = make_object(desc, msg);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}
