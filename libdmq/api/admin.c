/* Admin operations. Each is one call that any broker answers or forwards; its JSON has the REST
 * names, which are those of the message table. */
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/api.h"
#include "libdmq/base/arena.h"
#include "libdmq/os/random.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/codec_json.h"

#define ADMIN_ARENA ((size_t)256 << 20) /* of one request or answer */
#define MAX_CONFIG 64                   /* settings in one request */

/* One admin operation under way. */
struct admin_call {
    struct dmq_client *client;
    int64_t deadline_ms;
    struct arena arena;
    struct ask ask;
    struct err_msg err;
};

static void
admin_begin(struct admin_call *call, struct dmq_client *client, int64_t timeout_ms)
{
    *call = (struct admin_call){.client = client, .deadline_ms = deadline_of(timeout_ms)};
    arena_init(&call->arena, ADMIN_ARENA);
}

static dmq_err
admin_end(struct admin_call *call, dmq_error *error)
{
    arena_deinit(&call->arena);
    ask_deinit(&call->ask);
    return api_result(error, &call->err);
}

/* Sends a request and decodes its answer, if there is one with DMQ_OK (a delete that had been done
 * already has none: *ret_response stays as it is). */
static dmq_err
exchange(struct admin_call *call, int16_t api_key, const void *request, void *ret_response)
{
    const struct api_desc *api = api_find(api_key);
    struct buf *body = msg_encode_buf(api->request(), 0, request);
    dmq_err err = ask_call(call->client, api_key, body, call->deadline_ms, &call->ask);
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

static dmq_err
create_topic(struct admin_call *call, struct create_topic_request *request,
             struct create_topic_response *ret_response)
{
    if (uuid_is_zero(request->request_id)) {
        request->request_id = random_uuid();
    }
    return exchange(call, API_CREATE_TOPIC, request, ret_response);
}

/* By id, so that a retry never meets another topic that was made under the name meanwhile. */
static dmq_err
delete_topic(struct admin_call *call, struct delete_topic_request *request,
             struct delete_topic_response *ret_response)
{
    if (uuid_is_zero(request->topic_id)) {
        char name[250] = "";
        struct bytes given = request->topic_name;
        if (given.size < sizeof(name) && given.size > 0) {
            memcpy(name, given.data, given.size);
        }
        struct ask ask;
        dmq_err err = ask_topic(call->client, name, call->deadline_ms, &ask);
        request->topic_id = ask.topic_id;
        call->err = ask.result;
        ask_deinit(&ask);
        if (err != DMQ_OK) {
            return err;
        }
    }
    ret_response->topic_id = request->topic_id;
    dmq_err err = exchange(call, API_DELETE_TOPIC, request, ret_response);
    return err == DMQ_ERR_UNKNOWN_TOPIC_ID
               ? err_set(&call->err, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                         "the topic was deleted by somebody else meanwhile")
               : err;
}

static dmq_err
describe_topics(struct admin_call *call, struct describe_topics_request *request,
                struct describe_topics_response *ret_response)
{
    dmq_err err = exchange(call, API_DESCRIBE_TOPICS, request, ret_response);
    if (err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION && request->topic_names_count == 1 &&
        request->topic_names[0].size < 250) {
        char name[250];
        memcpy(name, request->topic_names[0].data, request->topic_names[0].size);
        name[request->topic_names[0].size] = '\0';
        err_set(&call->err, err, "topic '%s' does not exist", name);
        suggest_topic(call->client, name, call->deadline_ms, &call->err);
    }
    return err;
}

/* ---- by JSON
 * -----------------------------------------------------------------------------------*/

static dmq_err
parse(struct admin_call *call, const struct struct_desc *desc, const char *json, void *request)
{
    dmq_err err = msg_from_json_text(desc, bytes_str(json == NULL ? "{}" : json), &call->arena,
                                     request, &call->err);
    return err == DMQ_ERR_INVALID_REQUEST ? (call->err.code = DMQ_ERR_INVALID_ARGUMENT) : err;
}

static dmq_err
print(struct admin_call *call, const struct struct_desc *desc, const void *response,
      char **ret_json)
{
    char *json = msg_to_json_text(desc, response);
    if (json == NULL) {
        return err_set(&call->err, DMQ_ERR_NOMEM, "out of memory");
    }
    *ret_json = json;
    return DMQ_OK;
}

static dmq_err
op_create_topic(struct admin_call *call, const char *json, char **ret_json)
{
    struct create_topic_request request = {.partition_count = -1, .replication_factor = -1};
    struct create_topic_response response = {0};
    dmq_err err = parse(call, desc_create_topic_request(), json, &request);
    if (err == DMQ_OK) {
        err = create_topic(call, &request, &response);
    }
    return err == DMQ_OK ? print(call, desc_topic_description(), &response.topic, ret_json) : err;
}

static dmq_err
op_delete_topic(struct admin_call *call, const char *json, char **ret_json)
{
    struct delete_topic_request request = {0};
    struct delete_topic_response response = {0};
    dmq_err err = parse(call, desc_delete_topic_request(), json, &request);
    if (err == DMQ_OK) {
        err = delete_topic(call, &request, &response);
    }
    return err == DMQ_OK ? print(call, desc_delete_topic_response(), &response, ret_json) : err;
}

static dmq_err
op_describe_topics(struct admin_call *call, const char *json, char **ret_json)
{
    struct describe_topics_request request = {0};
    struct describe_topics_response response = {0};
    dmq_err err = parse(call, desc_describe_topics_request(), json, &request);
    if (err == DMQ_OK) {
        err = describe_topics(call, &request, &response);
    }
    return err == DMQ_OK ? print(call, desc_describe_topics_response(), &response, ret_json) : err;
}

static dmq_err
op_cluster(struct admin_call *call, const char *json, char **ret_json)
{
    struct metadata_request request = {0};
    struct metadata_response response = {0};
    dmq_err err = parse(call, desc_metadata_request(), json, &request);
    if (err == DMQ_OK) {
        err = exchange(call, API_METADATA, &request, &response);
    }
    return err == DMQ_OK ? print(call, desc_metadata_response(), &response, ret_json) : err;
}

static const struct {
    const char *name;
    dmq_err (*run)(struct admin_call *call, const char *json, char **ret_json);
} operations[] = {
    {"create_topic", op_create_topic},
    {"delete_topic", op_delete_topic},
    {"describe_topics", op_describe_topics},
    {"cluster", op_cluster},
};

dmq_err
dmq_admin(dmq_client *client, const char *op, const char *json, int64_t timeout_ms, char **ret_json,
          dmq_error *error)
{
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    for (size_t i = 0; op != NULL && i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(operations[i].name, op) == 0) {
            struct admin_call call;
            admin_begin(&call, client, timeout_ms);
            call.err.code = operations[i].run(&call, json, ret_json);
            return admin_end(&call, error);
        }
    }
    return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                     "'%s' is not an admin operation: there are create_topic, delete_topic, "
                     "describe_topics and cluster",
                     op == NULL ? "" : op);
}

void
dmq_free(void *memory)
{
    free(memory);
}

/* ---- the common ones, typed
 * --------------------------------------------------------------------*/

dmq_err
dmq_topic_create(dmq_client *client, const char *topic, int32_t partitions,
                 int32_t replication_factor, const dmq_option *config, size_t config_count,
                 int64_t timeout_ms, dmq_error *error)
{
    struct config_entry entries[MAX_CONFIG];
    struct create_topic_response response;
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    if (topic == NULL || config_count > MAX_CONFIG || replication_factor > INT16_MAX) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         topic == NULL ? "the topic is NULL"
                                       : "too many settings, or too large a replication factor");
    }
    if (strlen(topic) > 249) {
        return api_error(
            error, DMQ_ERR_INVALID_TOPIC,
            "'%.40s...' cannot be the name of a topic: it has more than 249 characters", topic);
    }
    for (size_t i = 0; i < config_count; i++) {
        entries[i].name = bytes_str(config[i].name);
        entries[i].value = bytes_str(config[i].value);
        if (entries[i].name.size > 128 || entries[i].value.size > 4096) {
            return api_error(error, DMQ_ERR_INVALID_CONFIG,
                             "setting '%.60s' has too long a name or value", config[i].name);
        }
    }
    struct create_topic_request request = {.topic_name = bytes_str(topic),
                                           .partition_count = partitions,
                                           .replication_factor = (int16_t)replication_factor,
                                           .config = entries,
                                           .config_count = (uint32_t)config_count};
    struct admin_call call;
    admin_begin(&call, client, timeout_ms);
    call.err.code = create_topic(&call, &request, &response);
    return admin_end(&call, error);
}

dmq_err
dmq_topic_delete(dmq_client *client, const char *topic, int64_t timeout_ms, dmq_error *error)
{
    struct delete_topic_request request = {.topic_name = bytes_str(topic)};
    struct delete_topic_response response;
    struct admin_call call;
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    admin_begin(&call, client, timeout_ms);
    call.err.code = delete_topic(&call, &request, &response);
    return admin_end(&call, error);
}

dmq_err
dmq_topic_partitions(dmq_client *client, const char *topic, int64_t timeout_ms,
                     int32_t *ret_partitions, dmq_error *error)
{
    struct ask ask;
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    err = ask_topic(client, topic, deadline_of(timeout_ms), &ask);
    if (err == DMQ_OK) {
        *ret_partitions = ask.partition_count;
    }
    api_result(error, &ask.result);
    ask_deinit(&ask);
    return err;
}

/* The topic's handle must be known to the machine before a partition is looked up. */
static dmq_err
find_offset(dmq_client *client, int32_t handle, int32_t partition, int64_t timestamp,
            int64_t deadline_ms, struct ask *ask)
{
    struct client_position *position = malloc(sizeof(*position));
    if (position == NULL) {
        return err_set(&ask->result, DMQ_ERR_NOMEM, "out of memory");
    }
    *position = (struct client_position){handle, partition, timestamp};
    return ask_offsets(client, position, 1, deadline_ms, ask);
}

dmq_err
dmq_topic_offset(dmq_client *client, const char *topic, int32_t partition, int64_t offset,
                 int64_t timestamp, int64_t timeout_ms, int64_t *ret_offset, dmq_error *error)
{
    struct ask ask;
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    bool by_time = offset == DMQ_OFFSET_TIMESTAMP;
    if ((by_time && timestamp < 0) ||
        (!by_time && offset != DMQ_OFFSET_START && offset != DMQ_OFFSET_END)) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         "offset is not DMQ_OFFSET_START, _END or _TIMESTAMP (with a timestamp "
                         "from 0)");
    }
    int64_t deadline_ms = deadline_of(timeout_ms);
    err = ask_topic(client, topic, deadline_ms, &ask);
    if (err == DMQ_OK) {
        int32_t handle = ask.handle;
        ask_deinit(&ask);
        err =
            find_offset(client, handle, partition, by_time ? timestamp : offset, deadline_ms, &ask);
    }
    if (err == DMQ_OK) {
        *ret_offset = ask.offsets[0];
    }
    api_result(error, &ask.result);
    ask_deinit(&ask);
    return err;
}
