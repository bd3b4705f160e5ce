/* The undo list. Each change notes what it replaced, after the fact; taking changes back in the
 * opposite order leads through the same states, down to the digest. What the list owns (old
 * records, removed topics) goes back to the image or is freed when the list ends. */
#include <stdlib.h>

#include "libdmq/meta/image_internal.h"

/* The change stays: frees what only the list still holds. */
static void
release(const struct undo *undo)
{
    free(undo->old);
    if (undo->kind == UNDO_TOPIC_REMOVED) {
        topic_node_free(undo->node);
    }
}

void
image_note_undo(struct image *image, struct undo undo)
{
    if (!image->undo_active) {
        release(&undo);
        return;
    }
    if (image->undo_count == image->undo_capacity) {
        image->undo_capacity = image->undo_capacity < 16 ? 16 : image->undo_capacity * 2;
        image->undo = realloc(image->undo, image->undo_capacity * sizeof(*image->undo));
        DMQ_ASSERT(image->undo != NULL);
    }
    image->undo[image->undo_count++] = undo;
}

static void
take_back(struct image *image, const struct undo *undo)
{
    switch (undo->kind) {
    case UNDO_CLUSTER:
        image_set_cluster(image, undo->cluster_id);
        return;
    case UNDO_PRODUCER_IDS:
        image_set_producer_ids(image, undo->next_producer_id);
        return;
    case UNDO_BROKER:
        free(image_set_broker(image, undo->number, undo->old));
        return;
    case UNDO_TOPIC_ADDED:
        image_unlink_topic(image, undo->node);
        topic_node_free(undo->node);
        return;
    case UNDO_TOPIC_CHANGED:
        free(image_set_topic(image, undo->node, undo->old));
        return;
    case UNDO_TOPIC_REMOVED:
        image_link_topic(image, undo->node);
        return;
    case UNDO_PARTITION:
        free(image_set_partition(image, undo->node, undo->number, undo->old));
        return;
    case UNDO_SPENT:
        image_take_spent(image, &undo->spent);
        return;
    case UNDO_VERSION:
        image_set_version(image, undo->version, undo->term);
        return;
    }
    DMQ_UNREACHABLE();
}

void
meta_undo_begin(struct image *image)
{
    DMQ_ASSERT(!image->undo_active && image->undo_count == 0);
    DMQ_ASSERT(!image->loading);
    image->undo_active = true;
}

bool
meta_undo_active(const struct image *image)
{
    return image->undo_active;
}

size_t
meta_undo_mark(const struct image *image)
{
    DMQ_ASSERT(image->undo_active);
    return image->undo_count;
}

void
meta_undo_rollback_to(struct image *image, size_t mark)
{
    DMQ_ASSERT(image->undo_active && mark <= image->undo_count);
    while (image->undo_count > mark) {
        image->undo_count--;
        take_back(image, &image->undo[image->undo_count]);
    }
}

void
meta_undo_rollback(struct image *image)
{
    meta_undo_rollback_to(image, 0);
    image->undo_active = false;
}

void
meta_undo_commit(struct image *image)
{
    DMQ_ASSERT(image->undo_active);
    for (size_t i = 0; i < image->undo_count; i++) {
        release(&image->undo[i]);
    }
    image->undo_count = 0;
    image->undo_active = false;
}
