#include "tests/script/record_text.h"

#include "libdmq/meta/topic_config.h"
#include "tests/script/script.h"

const char *
record_text_id(struct uuid id)
{
    static char texts[4][UUID_TEXT_SIZE];
    static unsigned next;
    return uuid_text(id, texts[next++ % 4]);
}

static void
print_ids(struct outbuf *out, const char *name, const int32_t *ids, uint32_t count)
{
    script_print(out, " %s=", name);
    for (uint32_t i = 0; i < count; i++) {
        script_print(out, "%s%d", i == 0 ? "" : ",", ids[i]);
    }
    script_print(out, "%s", count == 0 ? "none" : "");
}

void
record_text_partition(struct outbuf *out, const struct partition_record *p)
{
    script_print(out, "partition %s/%d leader=%d epoch=%d/%d", record_text_id(p->topic_id),
                 p->partition, p->leader, p->leader_epoch, p->partition_epoch);
    print_ids(out, "replicas", p->replicas, p->replicas_count);
    print_ids(out, "isr", p->isr, p->isr_count);
    if (p->elr_count > 0) {
        print_ids(out, "elr", p->elr, p->elr_count);
    }
    if (p->durability == DURABILITY_ASYNC) {
        script_print(out, " async");
    }
    if (p->min_isr != 1) {
        script_print(out, " min=%d", p->min_isr);
    }
}

void
record_text_topic(struct outbuf *out, const struct topic_record *topic)
{
    script_print(out, "topic %.*s %s", (int)topic->name.size, (const char *)topic->name.data,
                 record_text_id(topic->topic_id));
    for (uint32_t i = 0; i < topic->config_count; i++) {
        script_print(out, " %.*s=%.*s", (int)topic->config[i].name.size,
                     (const char *)topic->config[i].name.data, (int)topic->config[i].value.size,
                     (const char *)topic->config[i].value.data);
    }
}

void
record_text_broker(struct outbuf *out, const struct broker_record *b)
{
    script_print(out, "broker %d epoch=%lld inc=%s%s%s", b->broker_id, (long long)b->broker_epoch,
                 record_text_id(b->incarnation), b->fenced ? " fenced" : "",
                 b->shutting_down ? " shutting-down" : "");
}

void
record_text_print(struct outbuf *out, const struct meta_record *record)
{
    switch ((enum record_type)record->desc->type) {
    case RECORD_CLUSTER:
        script_print(out, "cluster %s", record_text_id(record->u.cluster.cluster_id));
        break;
    case RECORD_BROKER:
        record_text_broker(out, &record->u.broker);
        break;
    case RECORD_BROKER_CHANGE:
        script_print(out, "change %d epoch=%lld %s%s", record->u.broker_change.broker_id,
                     (long long)record->u.broker_change.broker_epoch,
                     record->u.broker_change.fenced ? "fenced" : "unfenced",
                     record->u.broker_change.shutting_down ? " shutting-down" : "");
        break;
    case RECORD_TOPIC:
        record_text_topic(out, &record->u.topic);
        break;
    case RECORD_PARTITION:
        record_text_partition(out, &record->u.partition);
        break;
    case RECORD_TOPIC_REMOVED:
        script_print(out, "removed %s", record_text_id(record->u.topic_removed.topic_id));
        break;
    case RECORD_PRODUCER_IDS:
        script_print(out, "ids broker=%d next=%lld", record->u.producer_ids.broker_id,
                     (long long)record->u.producer_ids.next_producer_id);
        break;
    case RECORD_REQUEST_SPENT:
        script_print(out, "spent %lld request=%s", (long long)record->u.request_spent.number,
                     record_text_id(record->u.request_spent.request_id));
        break;
    case RECORD_IMAGE:
        script_print(out, "image");
        break;
    }
    script_print(out, "\n");
}

void
record_text_entry(struct outbuf *out, struct bytes encoded)
{
    struct arena arena;
    struct metadata_entry entry;
    struct meta_record record;
    struct err_msg err;
    arena_init(&arena, SIZE_MAX);
    if (msg_decode(desc_metadata_entry(), 0, encoded, &arena, &entry, &err) != DMQ_OK) {
        script_print(out, "  BAD ENTRY %s\n", err.text);
    }
    for (uint32_t i = 0; i < entry.records_count; i++) {
        if (record_decode(entry.records[i], &arena, &record, &err) != DMQ_OK) {
            script_print(out, "  BAD RECORD %s\n", err.text);
            continue;
        }
        script_print(out, "  ");
        record_text_print(out, &record);
    }
    arena_deinit(&arena);
}
