/* Admin operations. Each is one call that any broker answers or forwards; its JSON has the REST
 * names, which are those of the message table. What is asked for again after a lost answer must not
 * be done twice, nor to another topic that got the name meanwhile: hence request ids and topic
 * ids. */
#include "libdmq/api/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/url.h"
#include "libdmq/base/nearest.h"
#include "libdmq/os/random.h"
#include "libdmq/wire/codec_json.h"
#include "libdmq/wire/desc.h"

#define ADMIN_ARENA ((size_t)256 << 20) /* of one request or answer */
#define NAME_BYTES 250                  /* of a topic, with the terminator */

void
admin_begin(struct admin_call *call, struct dmq_client *client, int64_t timeout_ms)
{
    *call = (struct admin_call){.client = client, .deadline_ms = deadline_of(timeout_ms)};
    arena_init(&call->arena, ADMIN_ARENA);
}

dmq_err
admin_end(struct admin_call *call, dmq_error *error)
{
    arena_deinit(&call->arena);
    ask_deinit(&call->ask);
    return api_result(error, &call->err);
}

/* ---- one exchange ---------------------------------------------------------------------------- */

/* Sends a request and decodes its answer, if there is one with DMQ_OK (a delete that had been done
 * already has none: *ret_response stays as it is). */
static dmq_err
exchange(struct admin_call *call, int16_t api_key, const void *request, void *ret_response)
{
    const struct api_desc *api = api_find(api_key);
    dmq_err err = ask_call(call->client, api_key, request, call->deadline_ms, &call->ask);
    if (err != DMQ_OK) {
        call->err = call->ask.result;
        return err;
    }
    if (call->ask.body == NULL) {
        return DMQ_OK;
    }
    return msg_decode(api->response(), 0, buf_bytes(call->ask.body), &call->arena, ret_response,
                      &call->err);
}

/* ---- topics by id ---------------------------------------------------------------------------- */

static const char *
name_text(struct bytes name, char to[NAME_BYTES])
{
    size_t size = name.size < NAME_BYTES ? name.size : 0;
    if (size > 0) {
        memcpy(to, name.data, size);
    }
    to[size] = '\0';
    return to;
}

static dmq_err
find_topic(struct admin_call *call, struct bytes name, struct uuid *topic_id)
{
    char text[NAME_BYTES];
    struct ask ask;
    if (!uuid_is_zero(*topic_id)) {
        return DMQ_OK;
    }
    dmq_err err = ask_topic(call->client, name_text(name, text), call->deadline_ms, &ask);
    *topic_id = ask.topic_id;
    call->err = ask.result;
    ask_deinit(&ask);
    return err;
}

static dmq_err
delete_topic(struct admin_call *call, struct delete_topic_request *request,
             struct delete_topic_response *ret_response)
{
    dmq_err err = find_topic(call, request->topic_name, &request->topic_id);
    if (err != DMQ_OK) {
        return err;
    }
    ret_response->topic_id = request->topic_id;
    err = exchange(call, API_DELETE_TOPIC, request, ret_response);
    return err == DMQ_ERR_UNKNOWN_TOPIC_ID
               ? err_set(&call->err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                         "the topic was deleted by somebody else meanwhile")
               : err;
}

/* A topic that a broker does not know yet may be known to the controller, which is asked by name
 * then; what it answers counts. */
static dmq_err
change_topic(struct admin_call *call, int16_t api_key, struct bytes name, struct uuid *topic_id,
             void *request, void *ret_response)
{
    dmq_err err = find_topic(call, name, topic_id);
    if (err != DMQ_OK && err != DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        return err;
    }
    return exchange(call, api_key, request, ret_response);
}

/* The answer of a broker that knows no such topic, with the name that was probably meant. */
static dmq_err
suggest(struct admin_call *call, struct bytes name)
{
    char text[NAME_BYTES];
    err_set(&call->err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, "topic '%s' does not exist",
            name_text(name, text));
    suggest_topic(call->client, text, call->deadline_ms, &call->err);
    return DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

static dmq_err
describe_topics(struct admin_call *call, struct describe_topics_request *request,
                void *ret_response)
{
    dmq_err err = exchange(call, API_DESCRIBE_TOPICS, request, ret_response);
    bool one = request->topic_names_count == 1;
    return err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION && one ? suggest(call, request->topic_names[0])
                                                            : err;
}

static dmq_err
describe_config(struct admin_call *call, struct describe_config_request *request,
                void *ret_response)
{
    dmq_err err = exchange(call, API_DESCRIBE_CONFIG, request, ret_response);
    return err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION ? suggest(call, request->topic_name) : err;
}

/* ---- the cluster ----------------------------------------------------------------------------- */

/* Addresses come back as they are reachable from here: by the host that was dialled. */
static dmq_err
describe_cluster(struct admin_call *call, struct describe_cluster_request *request,
                 void *ret_response)
{
    struct client_address addresses[URL_MAX_ADDRESSES];
    struct err_msg ignored;
    size_t count;
    if (request->dialled_host.size == 0 &&
        url_parse(call->client->url, addresses, &count, &ignored) == DMQ_OK) {
        request->dialled_host = bytes_str(addresses[0].host);
        request->dialled_port = addresses[0].port;
    }
    return exchange(call, API_DESCRIBE_CLUSTER, request, ret_response);
}

/* ---- the one switch -------------------------------------------------------------------------- */

dmq_err
admin_run(struct admin_call *call, int16_t api_key, void *request, void *ret_response)
{
    struct create_topic_request *create = request;
    struct alter_topic_request *alter = request;
    struct create_partitions_request *more = request;
    struct elect_leaders_request *elect = request;
    switch (api_key) {
    case API_CREATE_TOPIC:
        create->request_id = uuid_is_zero(create->request_id) ? random_uuid() : create->request_id;
        return exchange(call, api_key, request, ret_response);
    case API_DELETE_TOPIC:
        return delete_topic(call, request, ret_response);
    case API_ALTER_TOPIC:
        return change_topic(call, api_key, alter->topic_name, &alter->topic_id, request,
                            ret_response);
    case API_CREATE_PARTITIONS:
        return change_topic(call, api_key, more->topic_name, &more->topic_id, request,
                            ret_response);
    case API_ELECT_LEADERS:
        return elect->all_topics ? exchange(call, api_key, request, ret_response)
                                 : change_topic(call, api_key, elect->topic_name, &elect->topic_id,
                                                request, ret_response);
    case API_DESCRIBE_TOPICS:
        return describe_topics(call, request, ret_response);
    case API_DESCRIBE_CONFIG:
        return describe_config(call, request, ret_response);
    case API_DESCRIBE_CLUSTER:
        return describe_cluster(call, request, ret_response);
    default:
        return exchange(call, api_key, request, ret_response);
    }
}

/* ---- by JSON --------------------------------------------------------------------------------- */

static const struct operation {
    const char *name;
    int16_t api_key;
} operations[] = {
    {"create_topic", API_CREATE_TOPIC},
    {"delete_topic", API_DELETE_TOPIC},
    {"alter_topic", API_ALTER_TOPIC},
    {"create_partitions", API_CREATE_PARTITIONS},
    {"elect_leaders", API_ELECT_LEADERS},
    {"describe_topics", API_DESCRIBE_TOPICS},
    {"describe_config", API_DESCRIBE_CONFIG},
    {"describe_cluster", API_DESCRIBE_CLUSTER},
    {"describe_quorum", API_DESCRIBE_QUORUM},
    {"transfer_leader", API_TRANSFER_LEADER},
    {"add_controller", API_ADD_CONTROLLER},
    {"remove_controller", API_REMOVE_CONTROLLER},
    {"metadata", API_METADATA},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static dmq_err
parse(struct admin_call *call, const struct struct_desc *desc, const char *json, void *request)
{
    dmq_err err = msg_from_json_text(desc, bytes_str(json == NULL ? "{}" : json), &call->arena,
                                     request, &call->err);
    return err == DMQ_ERR_INVALID_REQUEST ? (call->err.code = DMQ_ERR_INVALID_ARGUMENT) : err;
}

/* What is nothing but another struct is that struct: a topic that was created is the topic. */
static dmq_err
print(struct admin_call *call, const struct struct_desc *desc, const void *response,
      char **ret_json)
{
    const struct field_desc *only = &desc->fields[0];
    bool wraps = desc->field_count == 1 && only->kind == KIND_struct && !only->list;
    char *json = wraps ? msg_to_json_text(only->sub(), (const char *)response + only->offset)
                       : msg_to_json_text(desc, response);
    if (json == NULL) {
        return err_set(&call->err, DMQ_ERR_NOMEM, "out of memory");
    }
    *ret_json = json;
    return DMQ_OK;
}

/* What a key that is left out stands for, where that is not zero. */
static void
put_defaults(int16_t api_key, void *request)
{
    struct create_topic_request *create = request;
    struct elect_leaders_request *elect = request;
    if (api_key == API_CREATE_TOPIC) {
        create->partition_count = -1;
        create->replication_factor = -1;
    } else if (api_key == API_ELECT_LEADERS) {
        elect->partition = -1;
        elect->broker_id = -1;
    }
}

static dmq_err
run_json(struct admin_call *call, const struct api_desc *api, const char *json, char **ret_json)
{
    void *request = arena_alloc(&call->arena, api->request()->size);
    void *response = arena_alloc(&call->arena, api->response()->size);
    if (request == NULL || response == NULL) {
        return err_set(&call->err, DMQ_ERR_NOMEM, "out of memory");
    }
    put_defaults(api->key, request);
    dmq_err err = parse(call, api->request(), json, request);
    if (err == DMQ_OK) {
        err = admin_run(call, api->key, request, response);
    }
    return err == DMQ_OK ? print(call, api->response(), response, ret_json) : err;
}

static dmq_err
refuse(const char *op, dmq_error *error)
{
    const char *names[OPERATIONS];
    for (size_t i = 0; i < OPERATIONS; i++) {
        names[i] = operations[i].name;
    }
    const char *nearest = nearest_of(bytes_str(op), names, OPERATIONS);
    return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                     "'%.60s' is not an admin operation%s%s%s: dmq.h lists them", op,
                     nearest != NULL ? " (did you mean '" : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "'?)" : "");
}

dmq_err
dmq_admin(dmq_client *client, const char *op, const char *json, int64_t timeout_ms, char **ret_json,
          dmq_error *error)
{
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    for (size_t i = 0; op != NULL && i < OPERATIONS; i++) {
        if (strcmp(operations[i].name, op) == 0) {
            struct admin_call call;
            admin_begin(&call, client, timeout_ms);
            call.err.code = run_json(&call, api_find(operations[i].api_key), json, ret_json);
            return admin_end(&call, error);
        }
    }
    return refuse(op == NULL ? "" : op, error);
}

void
dmq_free(void *memory)
{
    free(memory);
}
