/* The one table of topic settings (Kafka's names, and durability). */
#ifndef DMQ_META_TOPIC_CONFIG_H
#define DMQ_META_TOPIC_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/messages.h"

enum topic_durability { DURABILITY_SYNC = 0, DURABILITY_ASYNC = 1 };

/* Settings of one topic with the defaults filled in. */
struct topic_config {
    int64_t max_message_bytes;   /* largest batch */
    int64_t segment_bytes;       /* a segment is rolled at this size */
    int64_t retention_ms;        /* -1: for ever */
    int64_t retention_bytes;     /* per partition; -1: no limit */
    int64_t min_insync_replicas; /* 0: min(2, replication factor) */
    int64_t durability;          /* of enum topic_durability */
    int64_t cleanup_policy;      /* 0: delete */
};

struct topic_setting {
    const char *name;
    const char *help;
    int64_t min; /* of a number */
    int64_t max;
    int64_t standard;           /* the default: a number, or an index of choices */
    const char *const *choices; /* NULL: a number; else the words, ended by NULL */
    size_t offset;              /* in struct topic_config */
};

extern const struct topic_setting topic_settings[];
extern const size_t topic_setting_count;

/* What a value must be, for people: "sync or async", "a whole number from 1 to 64". Returns to. */
const char *topic_setting_type(const struct topic_setting *setting, char *to, size_t size);

/* DMQ_ERR_INVALID_CONFIG with the reason; an unknown name suggests the nearest. */
dmq_err topic_config_check(struct bytes name, struct bytes value, struct err_msg *err);

/* The same for a name alone. */
dmq_err topic_config_check_name(struct bytes name, struct err_msg *err);

/* All of them, and that none stands twice. */
dmq_err topic_config_check_all(const struct config_entry *entries, uint32_t count,
                               struct err_msg *err);

/* Entries that the table does not know, or whose value it refuses, are passed over: a newer
 * controller may have written them. */
struct topic_config topic_config_of(const struct config_entry *entries, uint32_t count);

/* min.insync.replicas as it holds for a replication factor: the setting, which may be above it
 * (then acks=all is refused), else min(2, factor). */
int32_t topic_config_min_isr(const struct topic_config *config, uint32_t replicas);

#endif
