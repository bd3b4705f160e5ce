/* What administrators do, and what must come of it. Every name has one writer, or is asked for by
 * all with one request id, so that what an acknowledged request left is known: it must be there in
 * every later answer and at the end, under the same id; what was deleted must be gone; partitions
 * that were added stay, and a setting has a value that was asked for (a late copy of an earlier
 * request may still come: the last one that does counts). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "tests/sim/world.h"

#define MAX_NAMES 2048
#define MAX_CALLS 256
#define MAX_PRESENT 12 /* of one writer */
#define NOBODY (-1)
#define MOST_PARTITIONS 6    /* of a topic that is grown */
#define FIRST_RETENTION 1000 /* its values rise by one from here on */

enum name_state {
    NAME_UNKNOWN, /* a request of unknown fate: nothing can be said */
    NAME_PRESENT,
    NAME_DELETED
};

struct admin_name {
    char name[24];
    int writer; /* number of the process; NOBODY: asked for by all */
    bool last;  /* must be acknowledged after the healing */
    struct uuid request_id;
    struct uuid topic_id; /* of the first acknowledgement */
    enum name_state state;
    int32_t partitions; /* acknowledged */
    int32_t partitions_asked;
    int64_t retention_asked; /* FIRST_RETENTION: never */
    bool altered;            /* acknowledged */
    int pending;             /* calls */
    uint64_t changed;        /* events when something was asked or answered last */
};

enum admin_kind {
    ADMIN_CREATE,
    ADMIN_DELETE,
    ADMIN_ALTER,
    ADMIN_GROW,
    ADMIN_RESIZE,
    ADMIN_READ,
    ADMIN_TRANSFER,
    ADMIN_PREFER,
    ADMIN_ELECT,    /* uncleanly */
    ADMIN_ELECT_NOT /* without saying that the loss is accepted */
};

/* Of those that have a name. */
static const char *const kind_names[] = {"create", "delete", "alter", "grow"};

struct admin_call {
    const struct process *client;
    uint64_t number;
    enum admin_kind kind;
    struct admin_name *name; /* NULL: RESIZE, READ, TRANSFER, ELECT */
    uint64_t begun;          /* events */
};

struct admin {
    struct admin_name names[MAX_NAMES];
    size_t count;
    struct admin_call calls[MAX_CALLS];
    size_t call_count;
};

struct admin *
admin_new(void)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    DMQ_ASSERT(admin != NULL);
    for (int i = 0; i < WORLD_MAX_TOPICS; i++) {
        struct admin_name *name = &admin->names[admin->count++];
        snprintf(name->name, sizeof(name->name), "t%d", i);
        name->writer = NOBODY;
        name->request_id = (struct uuid){.b = {(uint8_t)(i + 1), 0x40}};
    }
    return admin;
}

void
admin_free(struct admin *admin)
{
    free(admin);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* A call may be answered within the step that makes it: it is noted under the number that it will
 * have. */
static void
note_call(struct process *client, enum admin_kind kind, struct admin_name *name)
{
    struct world *world = client->world;
    struct admin *admin = world->admin;
    DMQ_ASSERT(admin->call_count < MAX_CALLS);
    admin->calls[admin->call_count++] = (struct admin_call){.client = client,
                                                            .number = client_next_call(client),
                                                            .kind = kind,
                                                            .name = name,
                                                            .begun = world->counts.events};
    if (name != NULL) {
        name->pending++;
        name->changed = world->counts.events;
    }
}

static bool
has_room(const struct admin *admin)
{
    return admin->call_count + 4 < MAX_CALLS && admin->count + 8 < MAX_NAMES;
}

static void
create(struct process *client, struct admin_name *name)
{
    note_call(client, ADMIN_CREATE, name);
    client_create(client, name->name, name->request_id);
}

static bool
is_asking(const struct admin *admin, const struct process *client, const struct admin_name *name)
{
    for (size_t i = 0; i < admin->call_count; i++) {
        if (admin->calls[i].client == client && admin->calls[i].name == name) {
            return true;
        }
    }
    return false;
}

void
admin_create_shared(struct process *client, int topic)
{
    struct admin *admin = client->world->admin;
    struct admin_name *name = &admin->names[topic];
    if (has_room(admin) && !is_asking(admin, client, name)) {
        create(client, name);
    }
}

static struct admin_name *
new_name(struct process *client, const char *prefix)
{
    struct world *world = client->world;
    struct admin *admin = world->admin;
    struct admin_name *name = &admin->names[admin->count++];
    snprintf(name->name, sizeof(name->name), "%s-%" PRId32 "-%zu", prefix, client->id,
             admin->count);
    name->writer = client->number;
    name->partitions = WORLD_PARTITIONS;
    name->partitions_asked = WORLD_PARTITIONS;
    name->retention_asked = FIRST_RETENTION;
    name->request_id = rng_uuid(&world->rng);
    return name;
}

/* One of the client's topics that is in a state, by a fair draw. */
static struct admin_name *
one_of(struct process *client, enum name_state state, size_t *ret_count)
{
    struct admin *admin = client->world->admin;
    struct admin_name *found = NULL;
    uint64_t count = 0;
    for (size_t i = 0; i < admin->count; i++) {
        struct admin_name *name = &admin->names[i];
        bool good = name->writer == client->number && name->state == state && !name->last;
        if (good && name->pending == 0 && rng_below(&client->world->rng, ++count) == 0) {
            found = name;
        }
    }
    *ret_count = count;
    return found;
}

static void
delete_topic(struct process *client, struct admin_name *name)
{
    const struct delete_topic_request request = {.topic_id = name->topic_id};
    note_call(client, ADMIN_DELETE, name);
    name->state = NAME_UNKNOWN;
    client_call_cluster(client, API_DELETE_TOPIC, &request);
}

static void
alter(struct process *client, struct admin_name *name)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, ++name->retention_asked);
    struct config_change change = {.name = bytes_str("retention.ms"), .value = bytes_str(text)};
    const struct alter_topic_request request = {
        .topic_id = name->topic_id, .config = &change, .config_count = 1};
    note_call(client, ADMIN_ALTER, name);
    client_call_cluster(client, API_ALTER_TOPIC, &request);
}

static void
grow(struct process *client, struct admin_name *name)
{
    const struct create_partitions_request request = {.topic_id = name->topic_id,
                                                      .partition_count = name->partitions_asked};
    note_call(client, ADMIN_GROW, name);
    client_call_cluster(client, API_CREATE_PARTITIONS, &request);
}

static void
change(struct process *client, struct admin_name *name)
{
    if (name->partitions_asked < MOST_PARTITIONS && rng_chance(&client->world->rng, 500)) {
        name->partitions_asked++;
        grow(client, name);
        if (rng_chance(&client->world->rng, 300)) {
            grow(client, name); /* twice at once: what is asked for is a total */
        }
    } else {
        alter(client, name);
    }
}

/* Segments of another size, while the topic's logs are written: nothing of what clients see may
 * change. */
static void
resize(struct process *client)
{
    static const char *const sizes[] = {"4096", "8192", "65536", "1048576"};
    struct world *world = client->world;
    const struct admin_name *name = &world->admin->names[rng_below(&world->rng, WORLD_MAX_TOPICS)];
    uint64_t drawn = rng_below(&world->rng, 5);
    struct config_change change = {.name = bytes_str("segment.bytes"),
                                   .value = bytes_str(sizes[drawn % 4]),
                                   .remove = drawn == 4};
    const struct alter_topic_request request = {
        .topic_name = bytes_str(name->name), .config = &change, .config_count = 1};
    note_call(client, ADMIN_RESIZE, NULL);
    client_call_cluster(client, API_ALTER_TOPIC, &request);
}

static void
read_all(struct process *client)
{
    const struct describe_topics_request request = {.topic_names_count = 0};
    note_call(client, ADMIN_READ, NULL);
    client_call_cluster(client, API_DESCRIBE_TOPICS, &request);
}

static void
transfer(struct process *client)
{
    struct world *world = client->world;
    int index = (int)rng_below(&world->rng, (uint64_t)world->options.controllers);
    const struct transfer_leader_request request = {
        .controller_id = world_process(world, PROCESS_CONTROLLER, index)->id};
    note_call(client, ADMIN_TRANSFER, NULL);
    client_call_cluster(client, API_TRANSFER_LEADER, &request);
}

void
admin_elect(struct process *client, const struct elect_leaders_request *request)
{
    if (has_room(client->world->admin)) {
        enum admin_kind kind = request->accept_data_loss ? ADMIN_ELECT : ADMIN_ELECT_NOT;
        note_call(client, request->unclean ? kind : ADMIN_PREFER, NULL);
        client_call_cluster(client, API_ELECT_LEADERS, request);
    }
}

/* A copy of a create that comes when its topic was deleted. */
static void
create_late(struct process *client)
{
    size_t deleted;
    struct admin_name *name = one_of(client, NAME_DELETED, &deleted);
    if (name != NULL) {
        create(client, name);
    }
}

void
admin_work(struct process *client)
{
    struct world *world = client->world;
    size_t present;
    if (!has_room(world->admin)) {
        return;
    }
    struct admin_name *name = one_of(client, NAME_PRESENT, &present);
    uint64_t what = rng_below(&world->rng, 10);
    if (!world->healed && rng_chance(&world->rng, 20)) {
        transfer(client);
    } else if (rng_chance(&world->rng, 100)) {
        create_late(client);
    } else if (what < 2) {
        read_all(client);
    } else if (what < 3) {
        resize(client);
    } else if (name != NULL && what < 5) {
        change(client, name);
    } else if (world->options.topic_churn && name != NULL && (what < 7 || present >= MAX_PRESENT)) {
        delete_topic(client, name);
    } else if (world->options.topic_churn) {
        name = new_name(client, "churn");
        create(client, name);
        if (rng_chance(&world->rng, 300)) {
            create(client, name); /* twice at once: one topic comes of it */
        }
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
take_created(struct process *client, struct admin_name *name, dmq_err err, struct buf *body)
{
    struct world *world = client->world;
    struct create_topic_response response;
    struct arena arena;
    struct err_msg msg;
    if (name->state == NAME_DELETED) {
        world->counts.late_creates += err == DMQ_ERR_TOPIC_EXISTS;
        if (err == DMQ_OK) {
            world_fail(world, "a late copy of its create made topic %s again", name->name);
        }
        return;
    }
    if (err == DMQ_ERR_TOPIC_EXISTS) { /* all that ask for this name have one request id */
        world_fail(world, "a retried create of %s was not recognised", name->name);
    }
    if (err != DMQ_OK) {
        world->counts.admin_unknown++;
        return;
    }
    arena_init(&arena, 1 << 16);
    dmq_err failed =
        msg_decode(desc_create_topic_response(), 0, buf_bytes(body), &arena, &response, &msg);
    DMQ_ASSERT(failed == DMQ_OK);
    bool known = !uuid_is_zero(name->topic_id);
    if (known && !uuid_equal(name->topic_id, response.topic.topic_id)) {
        world_fail(world, "one create of %s gave two topics", name->name);
    }
    world->counts.topics_created += !known;
    world->counts.creates_retried += known;
    name->topic_id = response.topic.topic_id;
    name->state = NAME_PRESENT;
    arena_deinit(&arena);
}

static void
take_deleted(struct process *client, struct admin_name *name, dmq_err err)
{
    struct world *world = client->world;
    if (err == DMQ_OK) {
        name->state = NAME_DELETED;
        world->counts.topics_deleted++;
    } else if (err == DMQ_ERR_UNKNOWN_TOPIC_ID) {
        /* Nobody else deletes it: a try whose answer was lost did it, and that is success. */
        world_fail(world, "topic %s was there, but its deletion says that it is unknown",
                   name->name);
    } else {
        world->counts.admin_unknown++;
    }
}

/* The topic is there, for its creation was acknowledged and only this client could delete it. */
static void
take_changed(struct process *client, const struct admin_call *call, dmq_err err)
{
    struct world *world = client->world;
    struct admin_name *name = call->name;
    if (err == DMQ_ERR_UNKNOWN_TOPIC_ID || err == DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        world_fail(world, "topic %s, created and not deleted, is unknown", name->name);
    } else if (err != DMQ_OK) {
        world->counts.admin_unknown++;
    } else if (call->kind == ADMIN_ALTER) {
        name->altered = true;
        world->counts.topics_altered++;
    } else {
        name->partitions = name->partitions_asked;
        world->counts.topics_grown++;
    }
}

/* What a topic of one writer has must be what was acknowledged, or asked for since. */
static void
check_changes(struct world *world, const struct admin_name *name, int64_t partitions,
              int64_t retention)
{
    if (name->writer == NOBODY) {
        return;
    }
    if (partitions < name->partitions || partitions > name->partitions_asked) {
        world_fail(world,
                   "topic %s has %" PRId64 " partitions: %" PRId32 " were acknowledged, %" PRId32
                   " asked for",
                   name->name, partitions, name->partitions, name->partitions_asked);
    }
    bool asked = retention > FIRST_RETENTION && retention <= name->retention_asked;
    bool untouched = !name->altered && retention == topic_config_of(NULL, 0).retention_ms;
    if (!asked && !untouched) {
        world_fail(world, "topic %s has retention.ms=%" PRId64 ", which is not what it was set to",
                   name->name, retention);
    }
}

static const struct topic_description *
described(const struct describe_topics_response *response, const struct admin_name *name)
{
    for (uint32_t i = 0; i < response->topics_count; i++) {
        if (bytes_equal_str(response->topics[i].topic_name, name->name)) {
            return &response->topics[i];
        }
    }
    return NULL;
}

/* What was settled before the question must be in the answer, and nothing else: a copy of a create
 * that comes after its topic was deleted makes no other. */
static void
check_read(struct world *world, const struct admin_call *call,
           const struct describe_topics_response *response)
{
    for (size_t i = 0; i < world->admin->count; i++) {
        const struct admin_name *name = &world->admin->names[i];
        if (name->state == NAME_UNKNOWN || name->pending > 0 || name->changed >= call->begun) {
            continue;
        }
        const struct topic_description *topic = described(response, name);
        bool same = topic != NULL && uuid_equal(topic->topic_id, name->topic_id);
        if (name->state == NAME_PRESENT && !same) {
            world_fail(world, "a read misses topic %s, created before it", name->name);
        } else if (name->state == NAME_DELETED && topic != NULL) {
            world_fail(world, "a read has topic %s, deleted before it%s", name->name,
                       same ? "" : " and made again by a late copy of its create");
        } else if (name->state == NAME_PRESENT) {
            const struct topic_config config = topic_config_of(topic->config, topic->config_count);
            check_changes(world, name, topic->partition_count, config.retention_ms);
        }
        world->counts.admin_reads++;
    }
}

static void
take_read(struct process *client, const struct admin_call *call, dmq_err err, struct buf *body)
{
    struct describe_topics_response response;
    struct arena arena;
    struct err_msg msg;
    if (err != DMQ_OK) {
        client->world->counts.admin_unknown++;
        return;
    }
    arena_init(&arena, 1 << 22);
    dmq_err failed =
        msg_decode(desc_describe_topics_response(), 0, buf_bytes(body), &arena, &response, &msg);
    DMQ_ASSERT(failed == DMQ_OK);
    check_read(client->world, call, &response);
    arena_deinit(&arena);
}

static void
take_elected(struct process *client, dmq_err err, struct buf *body)
{
    struct world *world = client->world;
    struct elect_leaders_response response;
    struct arena arena;
    struct err_msg msg;
    if (err != DMQ_OK) {
        world->counts.admin_unknown++;
        return;
    }
    arena_init(&arena, 1 << 16);
    dmq_err failed =
        msg_decode(desc_elect_leaders_response(), 0, buf_bytes(body), &arena, &response, &msg);
    DMQ_ASSERT(failed == DMQ_OK);
    world->counts.unclean_refused += (uint64_t)response.not_needed_count;
    arena_deinit(&arena);
}

/* Who did not say that it accepts the loss gets none. */
static void
take_not_elected(struct process *client, dmq_err err)
{
    struct world *world = client->world;
    if (err == DMQ_OK) {
        world_fail(world, "an unclean election was held without consent to the loss");
    }
    world->counts.unclean_refused += err == DMQ_ERR_INVALID_REQUEST;
}

static bool
take_call(struct admin *admin, const struct process *client, uint64_t number,
          struct admin_call *ret_call)
{
    for (size_t i = 0; i < admin->call_count; i++) {
        if (admin->calls[i].client == client && admin->calls[i].number == number) {
            *ret_call = admin->calls[i];
            admin->calls[i] = admin->calls[--admin->call_count];
            return true;
        }
    }
    return false;
}

void
admin_answered(struct process *client, uint64_t number, dmq_err err, struct buf *body)
{
    struct world *world = client->world;
    struct admin_call call;
    bool ours = take_call(world->admin, client, number, &call);
    DMQ_ASSERT(ours);
    if (call.name != NULL) {
        call.name->pending--;
        call.name->changed = world->counts.events;
        world_trace(world, "client %" PRId32 ": %s %s: %s", client->id, kind_names[call.kind],
                    call.name->name, err_name(err));
    }
    switch (call.kind) {
    case ADMIN_CREATE:
        take_created(client, call.name, err, body);
        break;
    case ADMIN_DELETE:
        take_deleted(client, call.name, err);
        break;
    case ADMIN_ALTER:
    case ADMIN_GROW:
        take_changed(client, &call, err);
        break;
    case ADMIN_READ:
        take_read(client, &call, err, body);
        break;
    case ADMIN_RESIZE:
        world->counts.topics_altered += err == DMQ_OK;
        break;
    case ADMIN_TRANSFER:
        world->counts.transfers += err == DMQ_OK;
        break;
    case ADMIN_PREFER:
        world->counts.admin_unknown += err != DMQ_OK;
        break;
    case ADMIN_ELECT:
        take_elected(client, err, body);
        break;
    case ADMIN_ELECT_NOT:
        take_not_elected(client, err);
        break;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void
admin_ask_last(struct world *world)
{
    for (int i = 0; i < world->options.clients; i++) {
        struct process *client = world_process(world, PROCESS_CLIENT, i);
        struct admin_name *name = new_name(client, "last");
        name->last = true;
        create(client, name);
    }
}

/* One that was refused is asked for again, as a person would. */
bool
admin_is_served(struct process *client)
{
    struct admin *admin = client->world->admin;
    for (size_t i = 0; i < admin->count; i++) {
        struct admin_name *name = &admin->names[i];
        if (!name->last || name->writer != client->number || name->state == NAME_PRESENT) {
            continue;
        }
        if (name->pending == 0) {
            create(client, name);
        }
        return false;
    }
    return true;
}

void
admin_check_end(struct world *world)
{
    const struct image *image = metadata_newest(world);
    for (size_t i = 0; i < world->admin->count; i++) {
        const struct admin_name *name = &world->admin->names[i];
        const struct image_topic *topic = image_topic_by_id(image, name->topic_id);
        const struct image_topic *named = image_topic_by_name(image, bytes_str(name->name));
        if (name->state == NAME_PRESENT && topic == NULL) {
            world_fail(world, "topic %s was created and is not there", name->name);
        } else if (name->state == NAME_DELETED && named != NULL) {
            world_fail(world, "topic %s was deleted and is there%s", name->name,
                       topic != NULL ? "" : " again");
        } else if (named != NULL && !uuid_equal(named->record->request_id, name->request_id)) {
            world_fail(world, "topic %s is of a request that nobody made", name->name);
        } else if (name->state == NAME_PRESENT) {
            check_changes(world, name, topic->partition_count, topic->config.retention_ms);
        }
    }
}
