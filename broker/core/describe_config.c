/* DESCRIBE_CONFIG: the table of topic settings with what is in force for one topic. */
#include <inttypes.h>
#include <stdio.h>

#include "broker/core/call.h"
#include "libdmq/meta/names.h"

/* The topic does not set it: the table's default, unless the broker or the replication factor
 * decides. */
static int64_t
default_of(const struct brk *brk, const struct topic_setting *setting, uint32_t factor)
{
    const struct topic_config none = topic_config_of(NULL, 0);
    if (setting->offset == offsetof(struct topic_config, segment_bytes)) {
        return brk->config.segment_bytes;
    }
    if (setting->offset == offsetof(struct topic_config, min_insync_replicas)) {
        return topic_config_min_isr(&none, factor);
    }
    return setting->standard;
}

static struct bytes
value_text(struct call *call, const struct topic_setting *setting, int64_t value)
{
    char text[24];
    if (setting->choices != NULL) {
        return bytes_str(setting->choices[value]);
    }
    snprintf(text, sizeof(text), "%" PRId64, value);
    return call_text(call, text);
}

static void
describe(const struct brk *brk, struct call *call, const struct image_topic *topic,
         const struct topic_setting *setting, struct config_description *ret_description)
{
    char type[128];
    struct bytes standard =
        value_text(call, setting, default_of(brk, setting, topic->partitions[0]->replicas_count));
    const struct config_entry *own = NULL;
    for (uint32_t i = 0; i < topic->record->config_count; i++) {
        if (bytes_equal_str(topic->record->config[i].name, setting->name)) {
            own = &topic->record->config[i];
        }
    }
    topic_setting_type(setting, type, sizeof(type));
    *ret_description = (struct config_description){.name = bytes_str(setting->name),
                                                   .value = own != NULL ? own->value : standard,
                                                   .is_default = own == NULL,
                                                   .default_value = standard,
                                                   .type = call_text(call, type),
                                                   .help = bytes_str(setting->help)};
}

void
on_describe_config(struct brk *brk, struct call *call)
{
    const struct describe_config_request *request = call->request;
    struct err_msg err;
    if (topic_name_check(request->topic_name, &err) != DMQ_OK) {
        call_fail(brk, call, err.code, "%s", err.text);
        return;
    }
    /* Who sets a setting and then asks for it sees what was set, whichever brokers did the two. */
    if (call_stall(brk, call, true) || call_confirm(brk, call)) {
        return;
    }
    const struct image_topic *topic = image_topic_by_name(brk->image, request->topic_name);
    if (topic == NULL) {
        call_fail(brk, call, DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no topic '%.*s'",
                  (int)request->topic_name.size, (const char *)request->topic_name.data);
        return;
    }
    struct config_description *settings =
        arena_alloc(&call->arena, topic_setting_count * sizeof(*settings));
    DMQ_ASSERT(settings != NULL && topic->partition_count > 0);
    for (size_t i = 0; i < topic_setting_count; i++) {
        describe(brk, call, topic, &topic_settings[i], &settings[i]);
    }
    const struct describe_config_response response = {.topic_name = topic->record->name,
                                                      .topic_id = topic->record->topic_id,
                                                      .settings = settings,
                                                      .settings_count =
                                                          (uint32_t)topic_setting_count};
    call_answer(brk, call, &response, NULL, 0);
}
