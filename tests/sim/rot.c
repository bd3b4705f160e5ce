/* A bit of one broker's disk flips: in a batch that its log counts as synced for good, so that it
 * is damage and no torn tail. Found by recovery or, in a segment that it does not walk, by a
 * reader. One time in four it is in the header's first bytes, which no CRC covers.
 *
 * At most one broker at a time is without what it held (as faults.c has it), so that whatever is
 * acknowledged is somewhere. The checker of replicas sees the disk as it would be without the rot:
 * what it must find is what is made of it. */
#include <inttypes.h>
#include <stdio.h>

#include "broker/core/partition.h"
#include "tests/sim/world.h"

#define CHANCE 400 /* per mille, of each fault that happens */
#define KEY_SIZE 25

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

/* Every batch has the same chance. */
static void
consider(struct search *search, const char *path, uint64_t at, const struct batch_header *header)
{
    if (header->base_offset < search->mark.start ||
        batch_last_offset(header) >= search->mark.mark.offset ||
        rng_below(search->rng, ++search->seen) != 0) {
        return;
    }
    bool covered = rng_below(search->rng, 4) != 0;
    uint64_t byte = rng_below(search->rng, covered ? header->size : BATCH_POS_ATTRIBUTES);
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
flip(const struct process *p)
{
    simfs_flip(p->disk, p->rot.path, p->rot.pos, p->rot.bit);
}

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

static bool
can_spare(struct world *world, const struct process *p)
{
    bool spare =
        world->options.replication > 1 && p->alive && !p->disk_offline && unclean_spares(world);
    replicas_settle(world);
    for (int i = 0; i < world->options.brokers; i++) {
        spare = spare && !world_process(world, PROCESS_BROKER, i)->damaged;
    }
    return spare;
}

void
rot_happens(struct world *world)
{
    char folder[sizeof(((struct sim_rot *)0)->path)];
    char id[UUID_TEXT_SIZE];
    struct rng rng;
    rng_init(&rng, world->options.seed ^ ((uint64_t)world->now_us * 37));
    if (world->options.seed % 5 < 2 || !rng_chance(&rng, CHANCE)) {
        return;
    }
    struct process *p = world_process(world, PROCESS_BROKER,
                                      (int)rng_below(&rng, (uint64_t)world->options.brokers));
    const struct partition_record *record = any_partition(world, &rng);
    if (record == NULL || !can_spare(world, p)) {
        return;
    }
    struct search search = {.p = p, .rng = &rng, .folder = folder};
    const struct uuid topic_id = record->topic_id; /* the image goes with its process */
    const int32_t partition = record->partition;
    snprintf(folder, sizeof(folder), "/data/%s/%" PRId32, uuid_text(topic_id, id), partition);
    process_crash(p, SIMFS_KEEP);
    simkv_crash(p->store, rng_next(&rng)); /* a mark that is lost later marks nothing */
    find_mark(&search, topic_id, partition);
    simfs_names(p->disk, folder, true, look_into, &search);
    if (search.seen > 0) {
        p->rot = search.rot;
        p->rot.on = true;
        p->damaged = true;
        world->counts.rots++;
        flip(p);
        world_trace(world, "broker %" PRId32 ": a bit of %s flips at %" PRIu64, p->id, p->rot.path,
                    p->rot.pos);
    }
    process_start_in(p, rng_range(&rng, 0, 3 * SECOND));
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

/* The batch is cut off, or the folder is set aside. */
void
rot_note(struct process *p, const struct disk_op *op)
{
    bool names = op->kind == DISK_OPEN || op->kind == DISK_QUARANTINE || op->kind == DISK_DELETE;
    p->world->counts.quarantines += op->kind == DISK_QUARANTINE;
    if (!p->rot.on || !names || op->u.open == NULL) {
        return;
    }
    const struct log_open *open = op->u.open;
    bool here = strncmp(p->rot.path, open->dir, strlen(open->dir)) == 0 &&
                p->rot.path[strlen(open->dir)] == '/';
    bool stays = op->kind == DISK_OPEN && open->marked && (!open->cuts || open->cut > p->rot.base);
    if (here && !stays) {
        p->rot.on = false;
    }
}

void
rot_hide(const struct process *p)
{
    if (p->rot.on) {
        flip(p);
    }
}
