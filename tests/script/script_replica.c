/* Scripts for the replication of a partition: a few replicas, each told by hand what happens to it.
 * What their logs hold is said with the event: ours=E/END is the largest epoch at or below the one
 * asked for, and its end.
 *
 *   open N end= hw=                 a new process of broker N; its log and its checkpoint
 *   role N leader= epoch= part= isr=1,2 [replicas=1,2,3] [min=] [async] [recorded] [bounced=3]
 *        [fenced=3] [foreign]       the image; bounced: has broker epoch 20 instead of 10; foreign:
 *                                   it speaks of a former process of N
 *   append N END | sync N END | cut N END | emptied N START    what became of its log
 *   wait MS [N]                     time passes, and N gets a tick
 *   fetched N from= epoch= last= end= synced= ours=E/END [broker=]
 *   progress N from= epoch= end= synced= [broker=]
 *   isr N settled|refused|unknown part=
 *   answered N epoch= asked= hw= [theirs=E/END ours=E/END]
 *   below N epoch= asked= start= hw=   the leader's log begins at start
 *   state N
 *
 * replica.lag.time.max.ms is 1000, an ISR change is asked for again after 100 ms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/replica/replica.h"
#include "tests/script/script.h"

#define MAX_NODES 5

struct world {
    int64_t now_ms;
    bool exists[MAX_NODES + 1];
    struct replica replicas[MAX_NODES + 1];
};

static long
number_of(const struct script_command *c, size_t place)
{
    if (place >= c->count) {
        script_wrong(c, "a word is missing");
    }
    return strtol(c->words[place], NULL, 10);
}

static long
node_of(const struct world *w, const struct script_command *c)
{
    long node = number_of(c, 1);
    if (node < 1 || node > MAX_NODES || (!w->exists[node] && strcmp(c->words[0], "open") != 0)) {
        script_wrong(c, "which node?");
    }
    return node;
}

/* Numbers with commas between them. */
static uint32_t
list_of(const struct script_command *c, const char *key, const char *standard, int32_t *ret_list)
{
    const char *text = script_value(c, key, standard);
    uint32_t count = 0;
    while (*text != 0 && count < MAX_NODES) {
        char *end;
        ret_list[count++] = (int32_t)strtol(text, &end, 10);
        text = *end == ',' ? end + 1 : end;
    }
    return count;
}

static bool
listed(const struct script_command *c, const char *key, int32_t id)
{
    int32_t ids[MAX_NODES];
    uint32_t count = list_of(c, key, "", ids);
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static struct replica_epoch_end
epoch_end_of(const struct script_command *c, const char *key)
{
    char *end;
    const char *text = script_value(c, key, "-1/0");
    long epoch = strtol(text, &end, 10);
    return (struct replica_epoch_end){(int32_t)epoch, *end == '/' ? strtol(end + 1, NULL, 10) : 0};
}

/* ---- what a step did ------------------------------------------------------------------------- */

static void
print_change(const struct replica_isr_change *change, struct outbuf *out)
{
    script_print(out, "asks isr");
    for (uint32_t i = 0; i < change->count; i++) {
        script_print(out, " %d(%lld)", change->members[i].broker_id,
                     (long long)change->members[i].broker_epoch);
    }
    script_print(out, " at epoch %d/%d%s\n", change->leader_epoch, change->partition_epoch,
                 change->async ? " async" : "");
}

static void
print_effects(const struct replica *replica, const struct replica_effects *effects,
              struct outbuf *out)
{
    if (effects->err != DMQ_OK) {
        script_print(out, "%s\n", err_name(effects->err));
    }
    if (effects->diverges) {
        script_print(out, "answers that it diverges %d/%lld\n", effects->theirs.epoch,
                     (long long)effects->theirs.end);
    }
    if (effects->append) {
        script_print(out, "appends\n");
    }
    if (effects->truncate) {
        script_print(out, "truncates to %lld%s\n", (long long)effects->truncate_to,
                     effects->below_hw ? ", BELOW THE HIGH WATERMARK" : "");
    }
    if (effects->restart) {
        script_print(out, "empties its log, to begin at %lld\n", (long long)effects->restart_at);
    }
    if (effects->hw_advanced) {
        script_print(out, "high watermark %lld\n", (long long)replica->high_watermark);
    }
    if (effects->progress) {
        script_print(out, "tells its progress\n");
    }
    if (effects->isr_change) {
        print_change(&effects->change, out);
    }
}

static void
step(struct world *w, const struct script_command *c, struct replica_event event,
     struct outbuf *out)
{
    struct replica *replica = &w->replicas[node_of(w, c)];
    struct replica_effects effects;
    event.now_ms = w->now_ms;
    replica_step(replica, &event, &effects);
    print_effects(replica, &effects, out);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void
run_open(struct world *w, const struct script_command *c, struct outbuf *out)
{
    long node = node_of(w, c);
    if (w->exists[node]) {
        replica_deinit(&w->replicas[node]);
    }
    w->exists[node] = true;
    replica_init(&w->replicas[node], &(struct replica_config){(int32_t)node, 1000, 100});
    step(
        w, c,
        (struct replica_event){.kind = REPLICA_OPENED,
                               .u.opened = {script_number(c, "end", 0), script_number(c, "hw", 0)}},
        out);
}

static void
run_role(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct replica_member members[MAX_NODES];
    int32_t ids[MAX_NODES];
    int32_t isr[MAX_NODES];
    long node = node_of(w, c);
    long leader = script_number(c, "leader", -1);
    uint32_t count = list_of(c, "replicas", "1,2,3", ids);
    for (uint32_t i = 0; i < count; i++) {
        members[i] = (struct replica_member){ids[i], listed(c, "bounced", ids[i]) ? 20 : 10,
                                             !listed(c, "fenced", ids[i])};
    }
    struct replica_image image = {.role = leader < 0       ? REPLICA_IDLE
                                          : leader != node ? REPLICA_FOLLOWER
                                                           : REPLICA_LEADER,
                                  .leader = (int32_t)leader,
                                  .leader_epoch = (int32_t)script_number(c, "epoch", 0),
                                  .partition_epoch = (int32_t)script_number(c, "part", 0),
                                  .min_isr = (int32_t)script_number(c, "min", 1),
                                  .async = script_flag(c, "async"),
                                  .recorded_async = script_flag(c, "recorded"),
                                  .member_count = count,
                                  .members = members,
                                  .isr_count = list_of(c, "isr", "", isr),
                                  .isr = isr};
    image.role = script_flag(c, "foreign") ? REPLICA_IDLE : image.role;
    step(w, c, (struct replica_event){.kind = REPLICA_ROLE, .u.image = image}, out);
}

static void
run_log(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct replica_event event = {.kind = REPLICA_APPENDED, .u.end = number_of(c, 2)};
    if (strcmp(c->words[0], "sync") == 0) {
        event.kind = REPLICA_SYNCED;
    } else if (strcmp(c->words[0], "cut") == 0) {
        event.kind = REPLICA_TRUNCATED;
    } else if (strcmp(c->words[0], "emptied") == 0) {
        event.kind = REPLICA_EMPTIED;
    }
    step(w, c, event, out);
}

static void
run_wait(struct world *w, const struct script_command *c, struct outbuf *out)
{
    w->now_ms += number_of(c, 1);
    if (c->count > 2) {
        struct replica_effects effects;
        struct replica *replica = &w->replicas[number_of(c, 2)];
        replica_step(replica, &(struct replica_event){.kind = REPLICA_TICK, .now_ms = w->now_ms},
                     &effects);
        print_effects(replica, &effects, out);
    }
}

static void
run_fetched(struct world *w, const struct script_command *c, struct outbuf *out)
{
    bool fetched = strcmp(c->words[0], "fetched") == 0;
    struct replica_event event = {.kind = fetched ? REPLICA_FETCHED : REPLICA_PROGRESS};
    event.u.fetched = (struct replica_fetched){
        .follower = (int32_t)script_number(c, "from", 0),
        .broker_epoch = script_number(c, "broker", 10),
        .leader_epoch = (int32_t)script_number(c, "epoch", 0),
        .last_epoch = (int32_t)script_number(c, "last", -1),
        .end = script_number(c, "end", 0),
        .synced_end = script_number(c, "synced", 0),
        .ours = epoch_end_of(c, "ours"),
    };
    step(w, c, event, out);
}

static void
run_isr(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct replica_event event = {.kind = REPLICA_ISR_ANSWERED};
    event.u.isr.partition_epoch = (int32_t)script_number(c, "part", 0);
    event.u.isr.outcome = script_flag(c, "settled")   ? REPLICA_ISR_SETTLED
                          : script_flag(c, "refused") ? REPLICA_ISR_REFUSED
                                                      : REPLICA_ISR_UNKNOWN;
    step(w, c, event, out);
}

static void
run_answered(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct replica_event event = {.kind = REPLICA_ANSWERED};
    event.u.answered = (struct replica_answered){
        .leader_epoch = (int32_t)script_number(c, "epoch", 0),
        .asked_end = script_number(c, "asked", 0),
        .high_watermark = script_number(c, "hw", 0),
        .diverges = script_value(c, "theirs", NULL) != NULL,
        .theirs = epoch_end_of(c, "theirs"),
        .ours = epoch_end_of(c, "ours"),
    };
    step(w, c, event, out);
}

static void
run_below(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct replica_event event = {.kind = REPLICA_BELOW_START};
    event.u.below = (struct replica_below_start){
        .leader_epoch = (int32_t)script_number(c, "epoch", 0),
        .asked_end = script_number(c, "asked", 0),
        .start = script_number(c, "start", 0),
        .high_watermark = script_number(c, "hw", 0),
    };
    step(w, c, event, out);
}

static void
run_state(struct world *w, const struct script_command *c, struct outbuf *out)
{
    static const char *const roles[] = {"idle", "follower", "leader"};
    const struct replica *r = &w->replicas[node_of(w, c)];
    script_print(out, "%s epoch %d/%d end %lld synced %lld high watermark %lld", roles[r->role],
                 r->leader_epoch, r->partition_epoch, (long long)r->end, (long long)r->synced_end,
                 (long long)r->high_watermark);
    if (r->role == REPLICA_LEADER) {
        script_print(out, " isr %llx asked %llx%s", (unsigned long long)r->isr,
                     (unsigned long long)r->asked, replica_has_min_isr(r) ? "" : " below min");
    }
    int64_t due = replica_deadline(r);
    if (due != INT64_MAX) {
        script_print(out, " due in %lld", (long long)(due > w->now_ms ? due - w->now_ms : 0));
    }
    script_print(out, "%s\n", replica_wants_fetch(r) ? " fetches" : "");
}

static const struct script_verb verbs[] = {
    {"open", run_open},         {"role", run_role},
    {"append", run_log},        {"sync", run_log},
    {"cut", run_log},           {"wait", run_wait},
    {"fetched", run_fetched},   {"progress", run_fetched},
    {"isr", run_isr},           {"state", run_state},
    {"answered", run_answered}, {"below", run_below},
    {"emptied", run_log},       {NULL, NULL},
};

int
main(int argc, char **argv)
{
    static struct world w = {.now_ms = 5000};
    int code = script_main(argc, argv, verbs, &w);
    for (int i = 1; i <= MAX_NODES; i++) {
        if (w.exists[i]) {
            replica_deinit(&w.replicas[i]);
        }
    }
    return code;
}
