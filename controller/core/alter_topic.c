/* Single settings of a topic are set and removed; the others stay as they are, also those that only
 * a newer controller knows. What the partitions carry of them (min ISR, durability) changes in the
 * same entry. Nothing is written where nothing changes, so that a retry costs nothing. */
#include <inttypes.h>

#include "controller/core/call.h"

#define MAX_SETTINGS 64 /* of topic_record */

struct settings {
    struct config_entry entries[MAX_SETTINGS];
    uint32_t count;
    bool changed;
};

/* ---- one change ------------------------------------------------------------------------------ */

static struct config_entry *
find(struct settings *settings, struct bytes name)
{
    for (uint32_t i = 0; i < settings->count; i++) {
        if (bytes_equal(settings->entries[i].name, name)) {
            return &settings->entries[i];
        }
    }
    return NULL;
}

/* One that is set may be removed even if this controller does not know it; else it must be a name
 * of the table, for a slip would look like a success. */
static dmq_err
take_away(struct settings *settings, struct bytes name, struct err_msg *err)
{
    struct config_entry *entry = find(settings, name);
    if (entry == NULL) {
        return topic_config_check_name(name, err);
    }
    size_t after = settings->count - (size_t)(entry - settings->entries) - 1;
    memmove(entry, entry + 1, after * sizeof(*entry));
    settings->count--;
    settings->changed = true;
    return DMQ_OK;
}

static dmq_err
put(struct settings *settings, const struct config_change *change, struct err_msg *err)
{
    struct config_entry *entry = find(settings, change->name);
    dmq_err code = topic_config_check(change->name, change->value, err);
    if (code != DMQ_OK) {
        return code;
    }
    if (entry == NULL && settings->count == MAX_SETTINGS) {
        return err_set(err, DMQ_ERR_POLICY_VIOLATION,
                       "the topic has %d settings of its own already: remove some first",
                       MAX_SETTINGS);
    }
    if (entry == NULL) {
        entry = &settings->entries[settings->count++];
        *entry = (struct config_entry){.name = change->name};
        settings->changed = true;
    }
    settings->changed |= !bytes_equal(entry->value, change->value);
    entry->value = change->value;
    return DMQ_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static dmq_err
check_once(const struct alter_topic_request *request, struct err_msg *err)
{
    for (uint32_t i = 0; i < request->config_count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            struct bytes name = request->config[i].name;
            if (bytes_equal(name, request->config[k].name)) {
                return err_set(err, DMQ_ERR_INVALID_CONFIG, "the setting %.*s stands twice",
                               name.size < 60 ? (int)name.size : 60, (const char *)name.data);
            }
        }
    }
    return DMQ_OK;
}

/* The settings as they will be. */
static dmq_err
change_all(const struct alter_topic_request *request, const struct topic_record *topic,
           struct settings *ret_settings, struct err_msg *err)
{
    dmq_err code = check_once(request, err);
    DMQ_ASSERT(topic->config_count <= MAX_SETTINGS);
    ret_settings->changed = false;
    ret_settings->count = topic->config_count;
    for (uint32_t i = 0; i < topic->config_count; i++) {
        ret_settings->entries[i] = topic->config[i];
    }
    for (uint32_t i = 0; i < request->config_count && code == DMQ_OK; i++) {
        const struct config_change *change = &request->config[i];
        code = change->remove ? take_away(ret_settings, change->name, err)
                              : put(ret_settings, change, err);
    }
    return code;
}

dmq_err
ctl_on_alter_topic(struct ctl *ctl, struct call *call)
{
    const struct alter_topic_request *request = call->request;
    const struct image_topic *topic;
    struct settings settings;
    dmq_err code =
        find_own_topic(ctl->image, request->topic_id, request->topic_name, &topic, &call->err);
    if (code == DMQ_OK) {
        code = change_all(request, topic->record, &settings, &call->err);
    }
    if (code != DMQ_OK) {
        return code;
    }
    struct topic_config config = topic_config_of(settings.entries, settings.count);
    code = check_min_isr(&config, topic->partitions[0]->replicas_count, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    struct uuid topic_id = topic->record->topic_id;
    if (settings.changed) {
        struct topic_record record = *topic->record;
        bool new_durability = topic->config.durability != config.durability;
        record.config = settings.entries;
        record.config_count = settings.count;
        ctl_propose(ctl, RECORD_TOPIC, &record);
        change_settings(ctl, topic_id, new_durability);
    }
    ctl_call_set_topic(call, image_topic_by_id(ctl->image, topic_id));
    return DMQ_OK;
}
