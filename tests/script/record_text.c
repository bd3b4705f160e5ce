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
