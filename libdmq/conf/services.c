/* One table says which fields an entry of each list has; one function reads an entry by it. What
 * the table cannot say (unique ids and addresses, the pairing) is checked behind. */
#include "libdmq/conf/services.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/nearest.h"
#include "libdmq/conf/json_line.h"
#include "libdmq/conf/text_file.h"

enum kind { TEXT, ID, PORT };

struct field {
    const char *name;
    enum kind kind;
    bool required;
    size_t offset;
};

#define AT(type, member) offsetof(struct type, member)

static const struct field controller_fields[] = {
    {"id", ID, true, AT(service_controller, id)},
    {"host", TEXT, true, AT(service_controller, host)},
    {"listenHost", TEXT, false, AT(service_controller, listen_host)},
    {"port", PORT, false, AT(service_controller, port)},
    {"httpPort", PORT, false, AT(service_controller, http_port)},
};

static const struct field broker_fields[] = {
    {"id", ID, true, AT(service_broker, id)},
    {"host", TEXT, true, AT(service_broker, host)},
    {"listenHost", TEXT, false, AT(service_broker, listen_host)},
    {"port", PORT, false, AT(service_broker, port)},
    {"peerPort", PORT, false, AT(service_broker, peer_port)},
    {"httpPort", PORT, false, AT(service_broker, http_port)},
    {"rack", TEXT, false, AT(service_broker, rack)},
    {"advertisedHost", TEXT, false, AT(service_broker, advertised_host)},
    {"advertisedPort", PORT, false, AT(service_broker, advertised_port)},
    {"controller", ID, false, AT(service_broker, controller)},
};

#define MAX_FIELDS 10

struct list {
    const char *name;
    const struct field *fields;
    size_t field_count;
    size_t entry_size;
};

static const struct list controller_list = {"controllers", controller_fields,
                                            sizeof(controller_fields) / sizeof(struct field),
                                            sizeof(struct service_controller)};
static const struct list broker_list = {"brokers", broker_fields,
                                        sizeof(broker_fields) / sizeof(struct field),
                                        sizeof(struct service_broker)};

/* What is being read, for errors. */
struct reading {
    const char *name; /* of the file */
    const char *text;
    struct err_msg *err;
};

/* An error at a field of an entry: "FILE:LINE: brokers[1].port: ...". key may be NULL. */
__attribute__((format(printf, 5, 6))) static dmq_err
fail_at(const struct reading *r, const struct list *list, size_t index, const char *key,
        const char *format, ...)
{
    char what[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    int line = json_line_of(r->text, list->name, index, key);
    if (line == 0) { /* the entry is no object */
        line = json_line_of(r->text, NULL, 0, list->name);
    }
    return err_set(r->err, DMQ_ERR_INVALID_CONFIG, "%.100s:%d: %s[%zu]%s%s: %s", r->name, line,
                   list->name, index, key == NULL ? "" : ".", key == NULL ? "" : key, what);
}

/* An error at a key of the whole. */
static dmq_err
fail(const struct reading *r, const char *key, const char *what)
{
    int line = json_line_of(r->text, NULL, 0, key);
    return err_set(r->err, DMQ_ERR_INVALID_CONFIG, "%.100s:%d: %s: %s", r->name,
                   line == 0 ? 1 : line, key, what);
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* Why value cannot stand in the field, or NULL after it was stored in entry. */
static const char *
store_field(const struct field *field, const json_t *value, void *entry)
{
    char *to = (char *)entry + field->offset;
    if (field->kind == TEXT) {
        const char *text = json_string_value(value);
        if (text == NULL) {
            return "must be a string";
        }
        if (strlen(text) >= SERVICES_MAX_NAME || (field->required && text[0] == 0)) {
            return "must have 1 to 255 bytes";
        }
        memcpy(to, text, strlen(text) + 1);
        return NULL;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value)) {
        return "must be a whole number without quotes";
    }
    if (field->kind == PORT && (number < 1 || number > 65535)) {
        return "must be a port: 1 to 65535";
    }
    if (number < 0 || number > INT32_MAX) {
        return "must be 0 to 2147483647";
    }
    int32_t narrow = (int32_t)number;
    memcpy(to, &narrow, sizeof(narrow));
    return NULL;
}

static const struct field *
find_field(const struct list *list, const char *name)
{
    for (size_t i = 0; i < list->field_count; i++) {
        if (strcmp(list->fields[i].name, name) == 0) {
            return &list->fields[i];
        }
    }
    return NULL;
}

static dmq_err
fail_unknown(const struct reading *r, const struct list *list, size_t index, const char *key)
{
    const char *names[MAX_FIELDS];
    DMQ_ASSERT(list->field_count <= MAX_FIELDS);
    for (size_t i = 0; i < list->field_count; i++) {
        names[i] = list->fields[i].name;
    }
    const char *near = nearest_of(bytes_str(key), names, list->field_count);
    return near == NULL ? fail_at(r, list, index, key, "unknown field: remove it")
                        : fail_at(r, list, index, key, "unknown field: did you mean '%s'?", near);
}

static dmq_err
read_entry(const struct reading *r, const struct list *list, size_t index, const json_t *object,
           void *entry)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return fail_at(r, list, index, NULL, "must be an object: {\"id\": ..., \"host\": ...}");
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const struct field *field = find_field(list, key);
        if (field == NULL) {
            return fail_unknown(r, list, index, key);
        }
        const char *wrong = store_field(field, value, entry);
        if (wrong != NULL) {
            return fail_at(r, list, index, key, "%s", wrong);
        }
    }
    for (size_t i = 0; i < list->field_count; i++) {
        const char *name = list->fields[i].name;
        if (list->fields[i].required && json_object_get(object, name) == NULL) {
            return fail_at(r, list, index, NULL, "'%s' is missing: add it", name);
        }
    }
    return DMQ_OK;
}

static dmq_err
read_list(const struct reading *r, const struct list *list, const json_t *root, void *ret_entries,
          size_t *ret_count)
{
    const json_t *array = json_object_get(root, list->name);
    if (!json_is_array(array)) {
        return fail(r, list->name, "must be an array of objects");
    }
    size_t count = json_array_size(array);
    if (count > SERVICES_MAX_NODES) {
        return fail(r, list->name, "has more than 1000 entries");
    }
    char *entries = calloc(count + 1, list->entry_size);
    if (entries == NULL) {
        return err_set(r->err, DMQ_ERR_NOMEM, "out of memory reading %s", r->name);
    }
    memcpy(ret_entries, &entries, sizeof(entries));
    *ret_count = count;
    for (size_t i = 0; i < count; i++) {
        dmq_err code =
            read_entry(r, list, i, json_array_get(array, i), entries + i * list->entry_size);
        if (code != DMQ_OK) {
            return code;
        }
    }
    return DMQ_OK;
}

/* ---- defaults and what concerns several entries ---------------------------------------------- */

static void
set_default_text(char *field, const char *value)
{
    if (field[0] == 0) {
        memcpy(field, value, strlen(value) + 1);
    }
}

static void
set_default(int32_t *field, int32_t value)
{
    if (*field == 0) {
        *field = value;
    }
}

static dmq_err
complete_broker(const struct reading *r, const struct services *s, size_t index, const json_t *root)
{
    struct service_broker *b = &s->brokers[index];
    const json_t *object = json_array_get(json_object_get(root, "brokers"), index);
    set_default_text(b->listen_host, b->host);
    set_default(&b->port, SERVICES_BROKER_PORT);
    set_default(&b->peer_port, b->port + SERVICES_PEER_PORT_OFFSET);
    set_default(&b->advertised_port, b->port);
    if (b->peer_port > 65535) {
        return fail_at(r, &broker_list, index, "port", "port + %d is no port: give 'peerPort'",
                       SERVICES_PEER_PORT_OFFSET);
    }
    if (json_object_get(object, "controller") == NULL) { /* spread over the controllers */
        b->controller = s->controllers[index % s->controller_count].id;
    } else if (services_controller(s, b->controller) == NULL) {
        return fail_at(r, &broker_list, index, "controller",
                       "no controller has the id %d: give the id of one of 'controllers'",
                       b->controller);
    }
    return DMQ_OK;
}

/* Where a listener stands in the file. Addresses are compared as others reach them: nodes on
 * several machines may all listen on 0.0.0.0. */
struct listener {
    const struct list *list;
    size_t index;
    const char *key;
    const char *host;
    int32_t port;
};

static size_t
listeners_of(const struct services *s, struct listener *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->controller_count; i++) {
        const struct service_controller *c = &s->controllers[i];
        out[n++] = (struct listener){&controller_list, i, "port", c->host, c->port};
        out[n++] = (struct listener){&controller_list, i, "httpPort", c->host, c->http_port};
    }
    for (size_t i = 0; i < s->broker_count; i++) {
        const struct service_broker *b = &s->brokers[i];
        out[n++] = (struct listener){&broker_list, i, "port", b->host, b->port};
        out[n++] = (struct listener){&broker_list, i, "peerPort", b->host, b->peer_port};
        out[n++] = (struct listener){&broker_list, i, "httpPort", b->host, b->http_port};
    }
    return n;
}

static dmq_err
check_listeners(const struct reading *r, const struct services *s)
{
    dmq_err code = DMQ_OK;
    size_t most = 2 * s->controller_count + 3 * s->broker_count;
    struct listener *all = calloc(most, sizeof(*all));
    if (all == NULL) {
        return err_set(r->err, DMQ_ERR_NOMEM, "out of memory reading %s", r->name);
    }
    size_t count = listeners_of(s, all);
    for (size_t i = 0; i < count * count && code == DMQ_OK; i++) {
        const struct listener *a = &all[i / count], *b = &all[i % count];
        if (b < a && a->port != 0 && a->port == b->port && strcmp(a->host, b->host) == 0) {
            code = fail_at(r, a->list, a->index, a->key,
                           "%s:%d is taken by %s[%zu].%s: give another port", a->host, a->port,
                           b->list->name, b->index, b->key);
        }
    }
    free(all);
    return code;
}

static dmq_err
check_ids(const struct reading *r, const struct services *s)
{
    for (size_t i = 0; i < s->controller_count; i++) {
        if (services_controller(s, s->controllers[i].id) != &s->controllers[i]) {
            return fail_at(r, &controller_list, i, "id", "%d is given twice: give another id",
                           s->controllers[i].id);
        }
    }
    for (size_t i = 0; i < s->broker_count; i++) {
        if (services_broker(s, s->brokers[i].id) != &s->brokers[i]) {
            return fail_at(r, &broker_list, i, "id", "%d is given twice: give another id",
                           s->brokers[i].id);
        }
    }
    return DMQ_OK;
}

static dmq_err
complete(const struct reading *r, struct services *s, const json_t *root)
{
    if (s->controller_count == 0) {
        return fail(r, "controllers", "is empty: give one controller at least");
    }
    if (s->controller_count > SERVICES_MAX_CONTROLLERS) {
        return fail(r, "controllers", "has more than 7 entries: 3 or 5 serve well");
    }
    for (size_t i = 0; i < s->controller_count; i++) {
        struct service_controller *c = &s->controllers[i];
        set_default_text(c->listen_host, c->host);
        set_default(&c->port, SERVICES_CONTROLLER_PORT);
    }
    dmq_err code = check_ids(r, s);
    for (size_t i = 0; i < s->broker_count && code == DMQ_OK; i++) {
        code = complete_broker(r, s, i, root);
    }
    return code == DMQ_OK ? check_listeners(r, s) : code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static dmq_err
read_root(const struct reading *r, const json_t *root, struct services *s)
{
    static const char *const known[] = {"cluster", "controllers", "brokers"};
    static const struct field cluster = {"cluster", TEXT, true, AT(services, cluster)};
    const char *key;
    json_t *value;
    if (!json_is_object(root)) {
        return err_set(r->err, DMQ_ERR_INVALID_CONFIG, "%.100s:1: must be an object: {...}",
                       r->name);
    }
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        const char *near = nearest_of(bytes_str(key), known, 3);
        if (near == NULL || strcmp(near, key) != 0) {
            return fail(r, key, "unknown field: known are 'cluster', 'controllers', 'brokers'");
        }
    }
    value = json_object_get(root, "cluster");
    const char *wrong = value == NULL ? NULL : store_field(&cluster, value, s);
    if (wrong != NULL) {
        return fail(r, "cluster", wrong);
    }
    set_default_text(s->cluster, "dmq");
    dmq_err code = read_list(r, &controller_list, root, &s->controllers, &s->controller_count);
    if (code == DMQ_OK) {
        code = read_list(r, &broker_list, root, &s->brokers, &s->broker_count);
    }
    return code == DMQ_OK ? complete(r, s, root) : code;
}

dmq_err
services_load(const char *source, struct services *ret_services, struct err_msg *err)
{
    struct services services = {0};
    json_error_t where;
    char *text = NULL;
    bool in_line = source[strspn(source, " \t\r\n")] == '{';
    struct reading r = {in_line ? "DMQ_SERVICES" : source, source, err};
    if (!in_line) {
        dmq_err code = text_file_read(source, "services file", &text, err);
        if (code != DMQ_OK) {
            return code;
        }
        r.text = text;
    }
    dmq_err code;
    json_t *root = json_loads(r.text, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        code = err_set(err, DMQ_ERR_INVALID_CONFIG, "%.100s:%d: no valid JSON: %.100s", r.name,
                       where.line, where.text);
    } else {
        code = read_root(&r, root, &services);
    }
    json_decref(root);
    free(text);
    if (code != DMQ_OK) {
        services_deinit(&services);
        return code;
    }
    *ret_services = services;
    return DMQ_OK;
}

void
services_deinit(struct services *services)
{
    free(services->controllers);
    free(services->brokers);
    *services = (struct services){0};
}

const struct service_controller *
services_controller(const struct services *services, int32_t id)
{
    for (size_t i = 0; i < services->controller_count; i++) {
        if (services->controllers[i].id == id) {
            return &services->controllers[i];
        }
    }
    return NULL;
}

const struct service_broker *
services_broker(const struct services *services, int32_t id)
{
    for (size_t i = 0; i < services->broker_count; i++) {
        if (services->brokers[i].id == id) {
            return &services->brokers[i];
        }
    }
    return NULL;
}
