#include "libdmq/wire/messages.h"

/* Inside each function `self` is the struct that is described. */
#define STRUCT(struct_name, struct_doc)                                                            \
    const struct struct_desc *desc_##struct_name(void)                                             \
    {                                                                                              \
        typedef struct struct_name self;                                                           \
        static const char name[] = #struct_name;                                                   \
        static const char doc[] = struct_doc;                                                      \
        static const struct field_desc fields[] = {
#define F(kind, name, since, limit, doc)                                                           \
    {#name, doc, KIND_##kind, false, since, limit, offsetof(self, name), 0, NULL},
#define N(strct, name, since, doc)                                                                 \
    {#name, doc, KIND_struct, false, since, 0, offsetof(self, name), 0, desc_##strct},
#define L(strct, name, since, limit, doc)                                                          \
    {#name,       doc,   KIND_struct,          true,                                               \
     since,       limit, offsetof(self, name), offsetof(self, name##_count),                       \
     desc_##strct},
#define A(kind, name, since, limit, doc)                                                           \
    {#name, doc,   KIND_##kind,          true,                                                     \
     since, limit, offsetof(self, name), offsetof(self, name##_count),                             \
     NULL},
#define END(struct_name)                                                                           \
    }                                                                                              \
    ;                                                                                              \
    static const struct struct_desc desc = {name, doc, sizeof(self),                               \
                                            sizeof(fields) / sizeof(fields[0]), fields};           \
    return &desc;                                                                                  \
    }
#include "libdmq/wire/messages.def"

const struct api_desc api_table[] = {
#define API(key, NAME, name, min, max, listeners, operation, resource, doc)                        \
    {key,                                                                                          \
     min,                                                                                          \
     max,                                                                                          \
     #NAME,                                                                                        \
     listeners,                                                                                    \
     operation,                                                                                    \
     resource,                                                                                     \
     desc_##name##_request,                                                                        \
     desc_##name##_response,                                                                       \
     doc},
#include "libdmq/wire/messages.def"
};
const size_t api_table_count = sizeof(api_table) / sizeof(api_table[0]);

const struct record_desc record_table[] = {
#define RECORD(type, version, NAME, name, doc) {type, version, #NAME, desc_##name##_record, doc},
#include "libdmq/wire/messages.def"
};
const size_t record_table_count = sizeof(record_table) / sizeof(record_table[0]);

const struct api_desc *
api_find(int key)
{
    for (size_t i = 0; i < api_table_count; i++) {
        if (api_table[i].key == key) {
            return &api_table[i];
        }
    }
    return NULL;
}

const struct record_desc *
record_find(int type)
{
    for (size_t i = 0; i < record_table_count; i++) {
        if (record_table[i].type == type) {
            return &record_table[i];
        }
    }
    return NULL;
}
