/* A bit of one broker's disk flips: in a batch that its log counts as synced for good, so that it
 * is damage and no torn tail. Found by recovery or, in a segment that it does not walk, by a
 * reader. Often it is where it is hard to find.
 *
 * At most one broker at a time is without what it held (as faults.c has it), so that whatever is
 * acknowledged is somewhere. Where there is one copy only it is not lost: later the bits are as
 * they were, and then all must be there, because nobody has touched it. The checker of replicas
 * sees the disk as it would be without the rot: what it must find is what is made of it. */
#include <inttypes.h>
#include <stdio.h>

#include "broker/core/partition.h"
#include "tests/sim/world.h"

#define CHANCE 400 /* per mille, of each fault that happens */
#define KEY_SIZE 25
#define DRAWS 16 /* of partitions, of which many are elsewhere, or have no mark yet */

struct search {
    const struct process *p;
    struct rng *rng;
    const char *folder;
    struct mark_row mark;
    uint64_t seen; /* batches that could be hit */
    struct sim_rot rot;
};

/* ---- where ----------------------------------------------------------------------------------- */

static dmq_err
take_mark(void *arg, struct bytes key, struct bytes value)
{
    struct search *search = arg;
    (void)key;
    return mark_row_decode(value, &search->mark) ? DMQ_OK : DMQ_ERR_DAMAGED;
}

/* What is durable of the row, for the process is dead. */
static void
find_mark(struct search *search, struct uuid topic_id, int32_t partition)
{
    uint8_t key[KEY_SIZE] = "log/";
    struct kv *kv = simkv_open(search->p->store);
    memcpy(key + 4, topic_id.b, sizeof(topic_id.b));
    put_be32(key + 20, (uint32_t)partition);
    key[24] = LOG_ROW_MARK;
    kv->ops->scan(kv, bytes_of(key, sizeof(key)), take_mark, search);
    kv->ops->close(kv);
}

/* The leader epoch is covered by no CRC; and what the last offset delta says is believed where only
 * headers are looked at. */
static uint64_t
any_byte(struct rng *rng, size_t size)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return BATCH_POS_LEADER_EPOCH + rng_below(rng, 4);
    case 1:
        return BATCH_POS_LAST_OFFSET_DELTA + rng_below(rng, 4);
    case 2:
        return rng_below(rng, BATCH_HEADER_SIZE);
    default:
        return rng_below(rng, size);
    }
}

/* Every batch has the same chance. */
static void
consider(struct search *search, const char *path, uint64_t at, const struct batch_header *header)
{
    if (header->base_offset < search->mark.start ||
        batch_last_offset(header) >= search->mark.mark.offset ||
        rng_below(search->rng, ++search->seen) != 0) {
        return;
    }
    uint64_t byte = any_byte(search->rng, header->size);
    search->rot = (struct sim_rot){
        .pos = at + byte, .bit = (unsigned)rng_below(search->rng, 8), .base = header->base_offset};
    snprintf(search->rot.path, sizeof(search->rot.path), "%s", path);
}

static void
look_into(void *arg, const char *name)
{
    struct search *search = arg;
    char path[sizeof(search->rot.path)];
    struct batch_header header;
    struct bytes batch;
    size_t length = strlen(name);
    if (length < 4 || strcmp(name + length - 4, ".log") != 0) {
        return;
    }
    snprintf(path, sizeof(path), "%s/%s", search->folder, name);
    const struct bytes all = simfs_durable_file(search->p->disk, path);
    struct bytes rest = all;
    while (batch_next(&rest, &batch) == DMQ_OK && batch_parse(batch, &header) == DMQ_OK) {
        consider(search, path, (uint64_t)(batch.data - all.data), &header);
    }
}

static void
flip(const struct process *p, const struct sim_rot *rot)
{
    simfs_flip(p->disk, rot->path, rot->pos, rot->bit);
}

/* By the newest image of all: a process that died has none. */
static const struct partition_record *
any_partition(struct world *world, struct rng *rng)
{
    const struct image *image = metadata_newest(world);
    if (image == NULL || image_topic_count(image) == 0) {
        return NULL;
    }
    const struct image_topic *topic =
        image_topic_at(image, (uint32_t)rng_below(rng, image_topic_count(image)));
    const struct partition_record *p = topic->partitions[rng_below(rng, topic->partition_count)];
    bool async = p->durability == DURABILITY_ASYNC || topic->config.durability == DURABILITY_ASYNC;
    return async ? NULL : p;
}

/* ---- it happens ------------------------------------------------------------------------------ */

/* Others have all that it holds; or nobody has, and it is mended again. */
static bool
can_spare(struct world *world, const struct process *p)
{
    bool spare = p->alive && !p->disk_offline && !rot_is_on(p) && unclean_spares(world);
    replicas_settle(world);
    for (int i = 0; i < world->options.brokers; i++) {
        spare = spare && !world_process(world, PROCESS_BROKER, i)->damaged;
    }
    return spare;
}

/* Where a bit of one log of the broker flips, if there is one that could. */
static bool
find_place(struct process *p, struct rng *rng, struct sim_rot *ret_rot)
{
    char folder[sizeof(ret_rot->path)];
    char id[UUID_TEXT_SIZE];
    const struct partition_record *record = any_partition(p->world, rng);
    struct search search = {.p = p, .rng = rng, .folder = folder};
    if (record == NULL) {
        return false;
    }
    snprintf(folder, sizeof(folder), "/data/%s/%" PRId32, uuid_text(record->topic_id, id),
             record->partition);
    find_mark(&search, record->topic_id, record->partition);
    simfs_names(p->disk, folder, true, look_into, &search);
    *ret_rot = search.rot;
    return search.seen > 0;
}

static bool
is_hit(const struct process *p, const char *path)
{
    for (int i = 0; i < WORLD_ROTS; i++) {
        if (p->rots[i].on && strcmp(p->rots[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static void
hit(struct process *p, struct rng *rng, int most)
{
    struct world *world = p->world;
    bool last = world->options.replication == 1;
    struct sim_rot rot;
    for (int i = 0, n = 0; n < DRAWS && i < most; n++) {
        if (!find_place(p, rng, &rot) || is_hit(p, rot.path)) {
            continue;
        }
        rot.on = true;
        rot.last = last;
        p->rots[i++] = rot;
        p->damaged = !last;
        world->counts.rots += !last;
        world->counts.rots_of_last_copies += last;
        flip(p, &rot);
        world_trace(world, "broker %" PRId32 ": a bit of %s flips at %" PRIu64, p->id, rot.path,
                    rot.pos);
    }
}

void
rot_happens(struct world *world)
{
    struct rng rng;
    rng_init(&rng, world->options.seed ^ ((uint64_t)world->now_us * 37));
    if (world->options.seed % 5 < 2 || !rng_chance(&rng, CHANCE)) {
        return;
    }
    struct process *p = world_process(world, PROCESS_BROKER,
                                      (int)rng_below(&rng, (uint64_t)world->options.brokers));
    if (world->options.replication == 1 && rot_is_on(p) && rng_chance(&rng, 300)) {
        rot_mend(p);
        process_start_in(p, 0);
        return;
    }
    if (!can_spare(world, p) || any_partition(world, &rng) == NULL) {
        return;
    }
    process_crash(p, SIMFS_KEEP);
    simkv_crash(p->store, rng_next(&rng)); /* a mark that is lost later marks nothing */
    hit(p, &rng, 1 + (int)rng_below(&rng, WORLD_ROTS));
    process_start_in(p, rng_range(&rng, 0, 3 * SECOND));
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

bool
rot_is_on(const struct process *p)
{
    for (int i = 0; i < WORLD_ROTS; i++) {
        if (p->rots[i].on) {
            return true;
        }
    }
    return false;
}

static bool
is_in(const struct sim_rot *rot, const char *dir)
{
    return rot->on && strncmp(rot->path, dir, strlen(dir)) == 0 && rot->path[strlen(dir)] == '/';
}

bool
rot_ends_last_copy(const struct process *p, struct uuid topic_id, int32_t partition, int64_t end)
{
    char dir[sizeof(((struct sim_rot *)0)->path)];
    char id[UUID_TEXT_SIZE];
    snprintf(dir, sizeof(dir), "/data/%s/%" PRId32, uuid_text(topic_id, id), partition);
    for (int i = 0; i < WORLD_ROTS; i++) {
        if (p->rots[i].last && is_in(&p->rots[i], dir) && end <= p->rots[i].base) {
            return true;
        }
    }
    return false;
}

/* The batch is cut off, or the folder is set aside. */
void
rot_note(struct process *p, const struct disk_op *op)
{
    bool names = op->kind == DISK_OPEN || op->kind == DISK_QUARANTINE || op->kind == DISK_DELETE;
    p->world->counts.quarantines += op->kind == DISK_QUARANTINE;
    if (!names || op->u.open == NULL) {
        return;
    }
    const struct log_open *open = op->u.open;
    for (int i = 0; i < WORLD_ROTS; i++) {
        struct sim_rot *rot = &p->rots[i];
        bool stays =
            op->kind == DISK_OPEN && open->marked && (!open->cuts || open->cut > rot->base);
        rot->on = rot->on && (stays || !is_in(rot, open->dir));
    }
}

void
rot_hide(const struct process *p)
{
    for (int i = 0; i < WORLD_ROTS; i++) {
        if (p->rots[i].on) {
            flip(p, &p->rots[i]);
        }
    }
}

/* The process that has seen them does not look again. */
void
rot_mend(struct process *p)
{
    bool any = false;
    for (int i = 0; i < WORLD_ROTS; i++) {
        any = any || (p->rots[i].on && p->rots[i].last);
    }
    if (!any) {
        return;
    }
    if (p->alive) {
        process_crash(p, SIMFS_KEEP);
    }
    rot_hide(p);
    memset(p->rots, 0, sizeof(p->rots));
    world_trace(p->world, "broker %" PRId32 ": what had flipped is as it was", p->id);
}
