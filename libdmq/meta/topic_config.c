#include "libdmq/meta/topic_config.h"

#include <inttypes.h>
#include <stdio.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/nearest.h"

static const char *const durability_choices[] = {"sync", "async", NULL};
static const char *const cleanup_choices[] = {"delete", NULL};

#define AT(field) offsetof(struct topic_config, field)

const struct topic_setting topic_settings[] = {
    {"cleanup.policy", "what happens to old records: delete", 0, 0, 0, cleanup_choices,
     AT(cleanup_policy)},
    {"durability",
     "sync: a record counts as stored when it is synced to disk; async: when it is in the page "
     "cache",
     0, 0, DURABILITY_SYNC, durability_choices, AT(durability)},
    {"max.message.bytes", "largest record batch, compressed", 61, 1 << 30, 1048588, NULL,
     AT(max_message_bytes)},
    {"min.insync.replicas",
     "replicas that must hold a record before acks=all is answered; if not set 2, or the "
     "replication factor if that is 1",
     1, 64, 0, NULL, AT(min_insync_replicas)},
    {"retention.bytes",
     "the oldest segments of a partition go while the others have so many bytes; -1: no limit", -1,
     INT64_MAX, -1, NULL, AT(retention_bytes)},
    {"retention.ms", "segments go when their newest record is so many ms old; -1: never", -1,
     INT64_MAX, INT64_C(7) * 24 * 3600 * 1000, NULL, AT(retention_ms)},
    {"segment.bytes", "size at which a new segment file is begun", 4096, INT32_MAX, 1 << 30, NULL,
     AT(segment_bytes)},
};
const size_t topic_setting_count = sizeof(topic_settings) / sizeof(topic_settings[0]);

#define SETTINGS (sizeof(topic_settings) / sizeof(topic_settings[0]))

static const struct topic_setting *
find(struct bytes name)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (bytes_equal_str(name, topic_settings[i].name)) {
            return &topic_settings[i];
        }
    }
    return NULL;
}

/* How much of a text from outside goes into a sentence. */
static int
shown(struct bytes text)
{
    return text.size < 60 ? (int)text.size : 60;
}

/* A decimal number, without sign or with '-', within int64_t. */
static bool
parse_number(struct bytes text, int64_t *ret_number)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t number = 0;
    if (i == text.size) {
        return false;
    }
    for (; i < text.size; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = negative ? -number : number;
    return true;
}

const char *
topic_setting_type(const struct topic_setting *setting, char *to, size_t size)
{
    size_t used = 0;
    if (setting->choices == NULL) {
        snprintf(to, size, "a whole number from %" PRId64 " to %" PRId64, setting->min,
                 setting->max);
        return to;
    }
    for (size_t i = 0; setting->choices[i] != NULL; i++) {
        int written =
            snprintf(to + used, size - used, "%s%s", i > 0 ? " or " : "", setting->choices[i]);
        DMQ_ASSERT(written > 0 && (size_t)written < size - used);
        used += (size_t)written;
    }
    return to;
}

static dmq_err
parse_choice(const struct topic_setting *setting, struct bytes value, int64_t *ret_number,
             struct err_msg *err)
{
    char all[64];
    for (size_t i = 0; setting->choices[i] != NULL; i++) {
        if (bytes_equal_str(value, setting->choices[i])) {
            *ret_number = (int64_t)i;
            return DMQ_OK;
        }
    }
    return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s is \"%.*s\": it must be %s", setting->name,
                   shown(value), (const char *)value.data,
                   topic_setting_type(setting, all, sizeof(all)));
}

static dmq_err
parse(const struct topic_setting *setting, struct bytes value, int64_t *ret_number,
      struct err_msg *err)
{
    if (setting->choices != NULL) {
        return parse_choice(setting, value, ret_number, err);
    }
    int64_t number;
    if (!parse_number(value, &number)) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s is \"%.*s\": it must be a whole number",
                       setting->name, shown(value), (const char *)value.data);
    }
    if (number < setting->min || number > setting->max) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "%s is %" PRId64 ": it must be from %" PRId64 " to %" PRId64, setting->name,
                       number, setting->min, setting->max);
    }
    *ret_number = number;
    return DMQ_OK;
}

static dmq_err
refuse_name(struct bytes name, struct err_msg *err)
{
    const char *names[SETTINGS];
    for (size_t i = 0; i < SETTINGS; i++) {
        names[i] = topic_settings[i].name;
    }
    const char *nearest = nearest_of(name, names, SETTINGS);
    return err_set(err, DMQ_ERR_INVALID_CONFIG, "there is no topic setting \"%.*s\"%s%s%s",
                   shown(name), (const char *)name.data, nearest != NULL ? ": did you mean " : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

dmq_err
topic_config_check(struct bytes name, struct bytes value, struct err_msg *err)
{
    int64_t number;
    const struct topic_setting *setting = find(name);
    return setting == NULL ? refuse_name(name, err) : parse(setting, value, &number, err);
}

dmq_err
topic_config_check_name(struct bytes name, struct err_msg *err)
{
    return find(name) == NULL ? refuse_name(name, err) : DMQ_OK;
}

dmq_err
topic_config_check_all(const struct config_entry *entries, uint32_t count, struct err_msg *err)
{
    for (uint32_t i = 0; i < count; i++) {
        dmq_err result = topic_config_check(entries[i].name, entries[i].value, err);
        if (result != DMQ_OK) {
            return result;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (bytes_equal(entries[i].name, entries[k].name)) {
                return err_set(err, DMQ_ERR_INVALID_CONFIG, "the setting %.*s stands twice",
                               shown(entries[i].name), (const char *)entries[i].name.data);
            }
        }
    }
    return DMQ_OK;
}

struct topic_config
topic_config_of(const struct config_entry *entries, uint32_t count)
{
    struct topic_config config = {0};
    struct err_msg ignored;
    for (size_t i = 0; i < SETTINGS; i++) {
        memcpy((char *)&config + topic_settings[i].offset, &topic_settings[i].standard,
               sizeof(int64_t));
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct topic_setting *setting = find(entries[i].name);
        int64_t number;
        if (setting != NULL && parse(setting, entries[i].value, &number, &ignored) == DMQ_OK) {
            memcpy((char *)&config + setting->offset, &number, sizeof(number));
        }
    }
    return config;
}

int32_t
topic_config_min_isr(const struct topic_config *config, uint32_t replicas)
{
    DMQ_ASSERT(replicas > 0);
    if (config->min_insync_replicas > 0) {
        return (int32_t)config->min_insync_replicas;
    }
    return replicas < 2 ? 1 : 2;
}
