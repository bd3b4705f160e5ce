/* Topics, typed: the common ones of the admin operations, and what METADATA and LIST_OFFSETS know.
 */
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/admin.h"

#define MAX_CONFIG 64 /* settings in one request */

/* What the message table's limits allow, said before a request is made. config values may be
 * NULL. */
static dmq_err
check_topic(dmq_client *client, const char *topic, const dmq_option *config, size_t config_count,
            dmq_error *error)
{
    dmq_err err = client_check(client, error);
    if (err != DMQ_OK) {
        return err;
    }
    if (topic == NULL || config_count > MAX_CONFIG) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         topic == NULL ? "the topic is NULL" : "too many settings");
    }
    if (strlen(topic) > 249) {
        return api_error(
            error, DMQ_ERR_INVALID_TOPIC,
            "'%.40s...' cannot be the name of a topic: it has more than 249 characters", topic);
    }
    for (size_t i = 0; i < config_count; i++) {
        const char *value = config[i].value == NULL ? "" : config[i].value;
        if (config[i].name == NULL || strlen(config[i].name) > 128 || strlen(value) > 4096) {
            return api_error(error, DMQ_ERR_INVALID_CONFIG,
                             "setting '%.60s' has no name, or too long a name or value",
                             config[i].name == NULL ? "" : config[i].name);
        }
    }
    return DMQ_OK;
}

dmq_err
dmq_topic_create(dmq_client *client, const char *topic, int32_t partitions,
                 int32_t replication_factor, const dmq_option *config, size_t config_count,
                 int64_t timeout_ms, dmq_error *error)
{
    struct config_entry entries[MAX_CONFIG];
    struct create_topic_response response = {0};
    dmq_err err = check_topic(client, topic, config, config_count, error);
    if (err != DMQ_OK) {
        return err;
    }
    if (replication_factor > INT16_MAX) {
        return api_error(error, DMQ_ERR_INVALID_REPLICATION_FACTOR,
                         "replication factor %d is too large", replication_factor);
    }
    for (size_t i = 0; i < config_count; i++) {
        if (config[i].value == NULL) {
            return api_error(error, DMQ_ERR_INVALID_CONFIG, "setting '%.60s' has no value",
                             config[i].name);
        }
        entries[i].name = bytes_str(config[i].name);
        entries[i].value = bytes_str(config[i].value);
    }
    struct create_topic_request request = {.topic_name = bytes_str(topic),
                                           .partition_count = partitions,
                                           .replication_factor = (int16_t)replication_factor,
                                           .config = entries,
                                           .config_count = (uint32_t)config_count};
    struct admin_call call;
    admin_begin(&call, client, timeout_ms);
    call.err.code = admin_run(&call, API_CREATE_TOPIC, &request, &response);
    return admin_end(&call, error);
}

/* A topic that is there is changed: by create_partitions or alter_topic, whose answers are alike.
 */
static dmq_err
change(dmq_client *client, int16_t api_key, void *request, int64_t timeout_ms, dmq_error *error)
{
    struct topic_description topic = {.partition_count = 0};
    struct admin_call call;
    admin_begin(&call, client, timeout_ms);
    call.err.code = admin_run(&call, api_key, request, &topic);
    return admin_end(&call, error);
}

dmq_err
dmq_topic_alter(dmq_client *client, const char *topic, const dmq_option *config,
                size_t config_count, int64_t timeout_ms, dmq_error *error)
{
    struct config_change changes[MAX_CONFIG];
    dmq_err err = check_topic(client, topic, config, config_count, error);
    if (err != DMQ_OK) {
        return err;
    }
    for (size_t i = 0; i < config_count; i++) {
        bool remove = config[i].value == NULL;
        changes[i] = (struct config_change){.name = bytes_str(config[i].name),
                                            .value = bytes_str(remove ? "" : config[i].value),
                                            .remove = remove};
    }
    struct alter_topic_request request = {
        .topic_name = bytes_str(topic), .config = changes, .config_count = (uint32_t)config_count};
    return change(client, API_ALTER_TOPIC, &request, timeout_ms, error);
}

dmq_err
dmq_topic_set_partitions(dmq_client *client, const char *topic, int32_t partitions,
                         int64_t timeout_ms, dmq_error *error)
{
    dmq_err err = check_topic(client, topic, NULL, 0, error);
    if (err != DMQ_OK) {
        return err;
    }
    struct create_partitions_request request = {.topic_name = bytes_str(topic),
                                                .partition_count = partitions};
    return change(client, API_CREATE_PARTITIONS, &request, timeout_ms, error);
}

dmq_err
dmq_topic_delete(dmq_client *client, const char *topic, int64_t timeout_ms, dmq_error *error)
{
    struct delete_topic_response response = {0};
    struct admin_call call;
    dmq_err err = check_topic(client, topic, NULL, 0, error);
    if (err != DMQ_OK) {
        return err;
    }
    struct delete_topic_request request = {.topic_name = bytes_str(topic)};
    admin_begin(&call, client, timeout_ms);
    call.err.code = admin_run(&call, API_DELETE_TOPIC, &request, &response);
    return admin_end(&call, error);
}

/* A newer library fills what the caller's struct has room for. */
static void
fill_info(const struct topic_description *topic, dmq_topic_info *ret_info)
{
    uint32_t size = ret_info->size;
    dmq_topic_info info = {.size = size,
                           .partitions = topic->partition_count,
                           .replication_factor = topic->replication_factor};
    uuid_text(topic->topic_id, info.id);
    memcpy(ret_info, &info, size < sizeof(info) ? size : sizeof(info));
}

dmq_err
dmq_topic_describe(dmq_client *client, const char *topic, int64_t timeout_ms,
                   dmq_topic_info *ret_info, dmq_error *error)
{
    struct describe_topics_response response = {0};
    struct admin_call call;
    dmq_err err = check_topic(client, topic, NULL, 0, error);
    if (err != DMQ_OK) {
        return err;
    }
    if (ret_info == NULL || ret_info->size < sizeof(uint32_t)) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "the size of dmq_topic_info is not set");
    }
    struct bytes name = bytes_str(topic);
    struct describe_topics_request request = {.topic_names = &name, .topic_names_count = 1};
    admin_begin(&call, client, timeout_ms);
    call.err.code = admin_run(&call, API_DESCRIBE_TOPICS, &request, &response);
    if (call.err.code == DMQ_OK && response.topics_count == 1) {
        fill_info(&response.topics[0], ret_info);
    }
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
