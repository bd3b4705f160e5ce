/* The structs of messages.def, and the descriptors that the codec interprets.
 *
 * In C a str or bytes field is a borrowed struct bytes, a list is a pointer and <name>_count. What
 * msg_decode fills points into the frame (str, bytes) and the arena (lists): it lives as long as
 * both. */
#ifndef DMQ_WIRE_MESSAGES_H
#define DMQ_WIRE_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"

#define WIRE_PROTOCOL 1

/* ---- structs --------------------------------------------------------------------------------- */

typedef bool ctype_boolean;
typedef int8_t ctype_i8;
typedef int16_t ctype_i16;
typedef int32_t ctype_i32;
typedef int64_t ctype_i64;
typedef struct uuid ctype_uuid;
typedef struct bytes ctype_str;
typedef struct bytes ctype_bytes;

#define STRUCT(name, doc) struct name {
#define END(name)                                                                                  \
    }                                                                                              \
    ;
#define F(kind, name, since, limit, doc) ctype_##kind name;
#define N(strct, name, since, doc) struct strct name;
#define L(strct, name, since, limit, doc)                                                          \
    struct strct *name;                                                                            \
    uint32_t name##_count;
#define A(kind, name, since, limit, doc)                                                           \
    ctype_##kind *name;                                                                            \
    uint32_t name##_count;
#include "libdmq/wire/messages.def"

/* ---- descriptors ----------------------------------------------------------------------------- */

enum field_kind {
    KIND_boolean,
    KIND_i8,
    KIND_i16,
    KIND_i32,
    KIND_i64,
    KIND_uuid,
    KIND_str,
    KIND_bytes,
    KIND_struct
};

struct struct_desc;

/* A descriptor is reached through a function, so that tables can refer to each other. */
typedef const struct struct_desc *struct_desc_fn(void);

struct field_desc {
    const char *name;
    const char *doc;
    enum field_kind kind;
    bool list;
    int since;
    uint32_t limit;      /* str, bytes: size; list: count */
    size_t offset;       /* in the struct; of the pointer, if a list */
    size_t count_offset; /* of the count, if a list */
    struct_desc_fn *sub; /* KIND_struct */
};

struct struct_desc {
    const char *name;
    const char *doc;
    size_t size;
    size_t field_count;
    const struct field_desc *fields;
};

#define STRUCT(name, doc) const struct struct_desc *desc_##name(void);
#include "libdmq/wire/messages.def"

/* ---- calls ----------------------------------------------------------------------------------- */

enum api_listener {
    LISTENER_CLIENT = 1,     /* a broker's port for clients */
    LISTENER_NODE = 2,       /* a broker's port for nodes */
    LISTENER_CONTROLLER = 4, /* a controller's port */
    LISTENER_ALL = 7
};

enum api_operation {
    OP_NONE,
    OP_READ,
    OP_WRITE,
    OP_CREATE,
    OP_DELETE,
    OP_ALTER,
    OP_DESCRIBE,
    OP_NODE
};
enum api_resource { RES_NONE, RES_TOPIC, RES_CLUSTER };

enum api_key {
#define API(key, NAME, name, min, max, listeners, operation, resource, doc) API_##NAME = (key),
#include "libdmq/wire/messages.def"
};

struct api_desc {
    int16_t key;
    int16_t min_version;
    int16_t max_version;
    const char *name;
    unsigned listeners; /* of enum api_listener */
    enum api_operation operation;
    enum api_resource resource;
    struct_desc_fn *request;
    struct_desc_fn *response;
    const char *doc;
};

extern const struct api_desc api_table[];
extern const size_t api_table_count;

/* NULL if there is no such call. */
const struct api_desc *api_find(int key);

/* ---- metadata records ------------------------------------------------------------------------ */

enum record_type {
#define RECORD(type, version, NAME, name, doc) RECORD_##NAME = (type),
#include "libdmq/wire/messages.def"
};

struct record_desc {
    int32_t type;
    int32_t version;
    const char *name;
    struct_desc_fn *body;
    const char *doc;
};

extern const struct record_desc record_table[];
extern const size_t record_table_count;

/* NULL if there is no such record. */
const struct record_desc *record_find(int type);

#endif
