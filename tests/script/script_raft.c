/* Scripts for Raft: a few nodes, their disks and the messages between them, moved by hand.
 *
 *   node N members=1,2,+3 [term= vote= commit= log=1,1,2]   a node; log: the terms of its entries
 *        [keep= keepbytes=]         entries, and bytes of them, that a snapshot leaves
 *   empty N [disk=2]                a node that knows nothing, on its nth disk
 *   restart N                       from its disk; what was being written is lost
 *   wait MS [N...]                  time passes; those nodes get a tick
 *   due N                           time passes until its deadline; it gets a tick
 *   persisted N | diskfails N       the completion of its write
 *   send FROM TO                    the oldest message between them arrives
 *   lose FROM TO | twice FROM TO | last FROM TO     it does not; does and stays; the newest arrives
 *   settle [N...]                   writes and messages among these (or all) until nothing moves;
 *                                   what goes to others is lost
 *   forget                          all messages that are on their way are lost
 *   recv N KIND from= term= [index= logterm= commit= round= rejected= offset= ok force terms=1,2
 *        members=1,2 disk= fromdisk=]           a message made by hand
 *   propose N TEXT | read N ID | compact N INDEX | gone N NODE | transfer N TO
 *   learner N ID | voter N ID | remove N ID         ID as in 4, or 4.2: the second disk of node 4
 *   state N
 *
 * Timeouts: heartbeat 100 ms, election 500 to 500 ms plus 50 for each node's number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/script/script.h"
#include "tests/support/raft_disk.h"
#include "tests/support/raft_text.h"

#define MAX_NODES 9
#define MAX_QUEUED 256

struct node {
    bool exists;
    struct raft raft;
    struct raft_config config;
    struct raft_disk disk;
    struct raft_persist *writing;
};

struct world {
    int64_t now_ms;
    struct node nodes[MAX_NODES + 1];
    struct raft_message *queue[MAX_QUEUED]; /* oldest first */
    size_t queued;
    struct raft_effects effects;
};

/* ---- words ----------------------------------------------------------------------------------- */

static struct raft_id
id_of(const char *word)
{
    char *end;
    long node = strtol(word, &end, 10);
    return raft_test_id((int32_t)node, *end == '.' ? (int)strtol(end + 1, NULL, 10) : 1);
}

static struct node *
node_of(struct world *w, const struct script_command *c, size_t place)
{
    long number = place < c->count ? strtol(c->words[place], NULL, 10) : 0;
    if (number < 1 || number > MAX_NODES) {
        script_wrong(c, "which node?");
    }
    return &w->nodes[number];
}

static const char *
word_of(const struct script_command *c, size_t place)
{
    if (place >= c->count) {
        script_wrong(c, "a word is missing");
    }
    return c->words[place];
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
print_effect(struct outbuf *out, const struct node *node, const struct raft_effect *effect)
{
    struct raft_text text = {0};
    if (effect->kind != RAFT_SEND) {
        raft_text_add(&text, "%d ", node->config.self.node);
    }
    raft_text_effect(&text, &node->raft, effect);
    script_print(out, "%s\n", text.text);
}

static void
carry_out(struct world *w, struct node *node, const struct raft_effect *effect)
{
    if (effect->kind == RAFT_PERSIST) {
        node->writing = raft_persist_copy(&effect->u.persist);
    } else if (effect->kind == RAFT_SEND && w->queued < MAX_QUEUED) {
        w->queue[w->queued++] = raft_message_copy(&effect->u.message);
    }
}

static void
step(struct world *w, struct node *node, struct raft_event event, struct outbuf *out)
{
    event.now_ms = w->now_ms;
    raft_step(&node->raft, &event, &w->effects);
    if (w->effects.result != RAFT_OK) {
        script_print(out, "%d says %s\n", node->config.self.node,
                     raft_result_name(w->effects.result));
    }
    for (uint32_t i = 0; i < w->effects.count; i++) {
        print_effect(out, node, &w->effects.items[i]);
        carry_out(w, node, &w->effects.items[i]);
    }
}

static void
tick(struct world *w, struct node *node, struct outbuf *out)
{
    step(w, node, (struct raft_event){.kind = RAFT_TICK}, out);
}

static void
start(struct world *w, struct node *node)
{
    struct raft_saved saved = raft_disk_saved(&node->disk);
    raft_init(&node->raft, &node->config, &saved, w->now_ms);
    node->exists = true;
}

static void
stop(struct node *node)
{
    if (node->exists) {
        raft_deinit(&node->raft);
        raft_persist_free(node->writing);
        node->writing = NULL;
        node->exists = false;
    }
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void
configure(struct node *node, struct raft_id self)
{
    raft_config_defaults(&node->config);
    node->config.self = self;
    node->config.election_min_ms = 500 + 50 * self.node;
    node->config.election_max_ms = 500 + 50 * self.node;
    node->config.max_append_entries = 3;
    node->config.max_inflight = 2;
    node->config.max_uncommitted = 6;
    node->config.chunk_bytes = 4;
    node->config.caught_up_entries = 1;
}

static void
parse_members(const char *text, struct raft_members *members)
{
    while (*text != 0) {
        bool learner = *text == '+';
        text += learner;
        members->at[members->count++] = (struct raft_member){.id = id_of(text), .voter = !learner};
        text += strcspn(text, ",");
        text += *text == ',';
    }
}

static void
add_log(struct raft_disk *disk, const char *terms)
{
    for (char *end; *terms != 0; terms = *end == ',' ? end + 1 : end) {
        char name[32];
        long term = strtol(terms, &end, 10);
        snprintf(name, sizeof(name), "e%ld", (long)disk->count + 1);
        struct buf *payload = buf_copy(bytes_str(name));
        raft_disk_append(disk, &(struct raft_entry){term, RAFT_ENTRY_DATA, payload});
        buf_unref(payload);
    }
}

static void
run_node(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct node *node = node_of(w, c, 1);
    bool empty = strcmp(c->words[0], "empty") == 0;
    (void)out;
    stop(node);
    raft_disk_deinit(&node->disk);
    configure(node, raft_test_id((int32_t)(node - w->nodes), (int)script_number(c, "disk", 1)));
    node->config.keep_entries = script_number(c, "keep", 0);
    node->config.keep_bytes = script_number(c, "keepbytes", node->config.keep_bytes);
    if (!empty) {
        parse_members(script_value(c, "members", ""), &node->disk.snapshot.members);
    }
    node->disk.term = script_number(c, "term", 0);
    node->disk.vote = id_of(script_value(c, "vote", "0"));
    node->disk.commit = script_number(c, "commit", 0);
    add_log(&node->disk, script_value(c, "log", ""));
    start(w, node);
}

static void
run_restart(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct node *node = node_of(w, c, 1);
    stop(node);
    start(w, node);
    tick(w, node, out);
}

/* ---- time and disk --------------------------------------------------------------------------- */

static void
run_wait(struct world *w, const struct script_command *c, struct outbuf *out)
{
    w->now_ms += strtol(word_of(c, 1), NULL, 10);
    for (size_t i = 2; i < c->count; i++) {
        tick(w, node_of(w, c, i), out);
    }
}

static void
run_due(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct node *node = node_of(w, c, 1);
    int64_t due = raft_deadline(&node->raft);
    if (due == INT64_MAX) {
        script_print(out, "never\n");
        return;
    }
    w->now_ms = due > w->now_ms ? due : w->now_ms;
    tick(w, node, out);
}

static void
complete(struct world *w, struct node *node, bool good, struct outbuf *out)
{
    struct raft_persist *write = node->writing;
    node->writing = NULL;
    if (good) {
        raft_disk_write(&node->disk, write);
    }
    step(w, node,
         (struct raft_event){.kind = good ? RAFT_PERSISTED : RAFT_PERSIST_FAILED,
                             .u.persisted = write->seq},
         out);
    raft_persist_free(write);
}

static void
run_persisted(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct node *node = node_of(w, c, 1);
    if (node->writing == NULL) {
        script_print(out, "nothing is being written\n");
        return;
    }
    complete(w, node, strcmp(c->words[0], "persisted") == 0, out);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct raft_message *
take_out(struct world *w, size_t place)
{
    struct raft_message *message = w->queue[place];
    w->queued--;
    memmove(w->queue + place, w->queue + place + 1, (w->queued - place) * sizeof(w->queue[0]));
    return message;
}

static void
arrive(struct world *w, const struct raft_message *message, struct outbuf *out)
{
    struct node *node = &w->nodes[message->to.node];
    if (node->exists) {
        step(w, node, (struct raft_event){.kind = RAFT_RECEIVED, .u.message = message}, out);
    }
}

static void
run_send(struct world *w, const struct script_command *c, struct outbuf *out)
{
    int32_t from = (int32_t)strtol(word_of(c, 1), NULL, 10);
    int32_t to = (int32_t)strtol(word_of(c, 2), NULL, 10);
    bool last = strcmp(c->words[0], "last") == 0, lose = strcmp(c->words[0], "lose") == 0;
    size_t found = w->queued;
    for (size_t i = w->queued; i-- > 0;) {
        bool fits = w->queue[i]->from.node == from && w->queue[i]->to.node == to;
        found = fits && (!last || found == w->queued) ? i : found;
    }
    if (found == w->queued) {
        script_print(out, "no message\n");
        return;
    }
    struct raft_message *message = w->queue[found];
    if (strcmp(c->words[0], "twice") != 0) {
        take_out(w, found);
    } else {
        message = raft_message_copy(message);
    }
    if (!lose) {
        arrive(w, message, out);
    }
    raft_message_free(message);
}

static bool
named(const struct script_command *c, int32_t node)
{
    for (size_t i = 1; i < c->count; i++) {
        if (strtol(c->words[i], NULL, 10) == node) {
            return true;
        }
    }
    return c->count == 1;
}

static bool
settle_disks(struct world *w, const struct script_command *c, struct outbuf *out)
{
    bool moved = false;
    for (int32_t i = 1; i <= MAX_NODES; i++) {
        if (named(c, i) && w->nodes[i].writing != NULL) {
            complete(w, &w->nodes[i], true, out);
            moved = true;
        }
    }
    return moved;
}

static void
run_settle(struct world *w, const struct script_command *c, struct outbuf *out)
{
    for (int turns = 0; turns < 100; turns++) {
        bool moved = settle_disks(w, c, out);
        for (size_t left = w->queued; left > 0; left--) {
            struct raft_message *message = take_out(w, 0);
            if (named(c, message->from.node) && named(c, message->to.node)) {
                arrive(w, message, out);
            }
            raft_message_free(message);
            moved = true;
        }
        if (!moved) {
            return;
        }
    }
    script_print(out, "NEVER SETTLES\n");
}

static void
run_forget(struct world *w, const struct script_command *c, struct outbuf *out)
{
    (void)c;
    (void)out;
    while (w->queued > 0) {
        raft_message_free(take_out(w, 0));
    }
}

static enum raft_message_kind
kind_of(const struct script_command *c, const char *word)
{
    static const char *const names[] = {"pre-vote?", "pre-vote",        "vote?",
                                        "vote",      "append",          "append-answer",
                                        "snapshot",  "snapshot-answer", "timeout-now"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], word) == 0) {
            return (enum raft_message_kind)i;
        }
    }
    script_wrong(c, "no message %s", word);
}

static void
run_recv(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct node *node = node_of(w, c, 1);
    struct raft_disk entries = {0};
    struct raft_members members = {0};
    int disk = raft_test_generation(node->config.self);
    add_log(&entries, script_value(c, "terms", ""));
    parse_members(script_value(c, "members", ""), &members);
    struct raft_message message = {
        .kind = kind_of(c, word_of(c, 2)),
        .from = id_of(script_value(c, "from", "0")),
        .to = raft_test_id(node->config.self.node, (int)script_number(c, "disk", disk)),
        .term = script_number(c, "term", 0),
        .index = script_number(c, "index", 0),
        .log_term = script_number(c, "logterm", 0),
        .commit = script_number(c, "commit", 0),
        .round = script_number(c, "round", 0),
        .rejected = script_number(c, "rejected", 0),
        .offset = script_number(c, "offset", 0),
        .ok = script_flag(c, "ok"),
        .force = script_flag(c, "force"),
        .entries = entries.entries,
        .entry_count = (uint32_t)entries.count,
        .members = members.count > 0 ? &members : NULL,
    };
    int64_t ignored = node->raft.stats.ignored;
    arrive(w, &message, out);
    if (node->raft.stats.ignored > ignored) {
        script_print(out, "ignored\n");
    }
    raft_disk_deinit(&entries);
}

/* ---- wishes ---------------------------------------------------------------------------------- */

static void
run_propose(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct buf *payload = buf_copy(bytes_str(word_of(c, 2)));
    step(w, node_of(w, c, 1), (struct raft_event){.kind = RAFT_PROPOSE, .u.propose = payload}, out);
    buf_unref(payload);
}

static void
run_compact(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct buf *data = buf_copy(bytes_str("0123456789"));
    struct raft_event event = {.kind = RAFT_COMPACT,
                               .u.compact = {strtol(word_of(c, 2), NULL, 10), data}};
    step(w, node_of(w, c, 1), event, out);
    buf_unref(data);
}

static void
run_read(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct raft_event event = {.kind = RAFT_READ_INDEX,
                               .u.read = strtoull(word_of(c, 2), NULL, 10)};
    step(w, node_of(w, c, 1), event, out);
}

static void
run_gone(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct raft_event event = {.kind = RAFT_PEER_GONE,
                               .u.gone = (int32_t)strtol(word_of(c, 2), NULL, 10)};
    step(w, node_of(w, c, 1), event, out);
}

static void
run_member(struct world *w, const struct script_command *c, struct outbuf *out)
{
    const char *word = c->words[0];
    struct raft_event event = {.kind = RAFT_TRANSFER, .u.peer = id_of(word_of(c, 2))};
    if (strcmp(word, "learner") == 0) {
        event.kind = RAFT_ADD_LEARNER;
    } else if (strcmp(word, "transfer") != 0) {
        event.kind = RAFT_CHANGE_VOTERS;
        event.u.change.peer = id_of(word_of(c, 2));
        event.u.change.add = strcmp(word, "voter") == 0;
    }
    step(w, node_of(w, c, 1), event, out);
}

static void
run_state(struct world *w, const struct script_command *c, struct outbuf *out)
{
    struct raft_text text = {0};
    raft_text_state(&text, &node_of(w, c, 1)->raft);
    script_print(out, "%s\n", text.text);
}

static const struct script_verb verbs[] = {
    {"node", run_node},           {"empty", run_node},     {"restart", run_restart},
    {"wait", run_wait},           {"due", run_due},        {"persisted", run_persisted},
    {"diskfails", run_persisted}, {"send", run_send},      {"lose", run_send},
    {"twice", run_send},          {"last", run_send},      {"settle", run_settle},
    {"forget", run_forget},       {"recv", run_recv},      {"propose", run_propose},
    {"compact", run_compact},     {"read", run_read},      {"gone", run_gone},
    {"transfer", run_member},     {"learner", run_member}, {"voter", run_member},
    {"remove", run_member},       {"state", run_state},    {NULL, NULL},
};

int
main(int argc, char **argv)
{
    static struct world w = {.now_ms = 1000};
    int code = script_main(argc, argv, verbs, &w);
    for (int i = 1; i <= MAX_NODES; i++) {
        stop(&w.nodes[i]);
        raft_disk_deinit(&w.nodes[i].disk);
    }
    while (w.queued > 0) {
        raft_message_free(take_out(&w, 0));
    }
    return code;
}
