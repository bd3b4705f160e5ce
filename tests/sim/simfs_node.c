#include "tests/sim/simfs_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libdmq/base/assert.h"

/* ---- images ---------------------------------------------------------------------------------- */

static void
image_resize(struct sim_image *image, size_t size)
{
    if (size > image->capacity) {
        size_t capacity = image->capacity * 2 > size ? image->capacity * 2 : size;
        image->data = realloc(image->data, capacity);
        DMQ_ASSERT(image->data != NULL);
        image->capacity = capacity;
    }
    if (size > image->size) {
        memset(image->data + image->size, 0, size - image->size);
    }
    image->size = size;
}

static void
image_write(struct sim_image *image, uint64_t pos, const uint8_t *data, size_t size)
{
    if (size == 0) {
        return;
    }
    if (pos + size > image->size) {
        image_resize(image, (size_t)pos + size);
    }
    memcpy(image->data + pos, data, size);
}

static void
image_copy(struct sim_image *to, const struct sim_image *from)
{
    to->size = 0;
    image_write(to, 0, from->data, from->size);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct sim_node *
sim_node_new(bool folder)
{
    struct sim_node *node = calloc(1, sizeof(*node));
    DMQ_ASSERT(node != NULL);
    node->refs = 1;
    node->folder = folder;
    return node;
}

struct sim_node *
sim_node_ref(struct sim_node *node)
{
    node->refs++;
    return node;
}

static void
free_entries(struct sim_entry **entries, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        sim_node_unref((*entries)[i].node);
    }
    free(*entries);
    *entries = NULL;
    *count = 0;
}

static void
free_changes(struct sim_node *node)
{
    for (size_t i = 0; i < node->change_count; i++) {
        free(node->changes[i].data);
        sim_node_unref(node->changes[i].node);
    }
    node->change_count = 0;
}

void
sim_node_unref(struct sim_node *node)
{
    if (node == NULL || --node->refs > 0) {
        return;
    }
    free_changes(node);
    free(node->changes);
    free_entries(&node->entries, &node->entry_count);
    free_entries(&node->durable_entries, &node->durable_entry_count);
    free(node->durable.data);
    free(node->now.data);
    free(node);
}

static struct sim_change *
add_change(struct sim_node *node, enum sim_change_kind kind)
{
    if (node->change_count == node->change_capacity) {
        size_t capacity = node->change_capacity == 0 ? 8 : node->change_capacity * 2;
        node->changes = realloc(node->changes, capacity * sizeof(*node->changes));
        DMQ_ASSERT(node->changes != NULL);
        node->change_capacity = capacity;
    }
    struct sim_change *change = &node->changes[node->change_count++];
    *change = (struct sim_change){.kind = kind};
    return change;
}

/* ---- cloning --------------------------------------------------------------------------------- */

/* A node may hang in several places (its name durable in one, changed since): copied once. */
struct copies {
    const struct sim_node **from;
    struct sim_node **to;
    size_t count;
    size_t capacity;
};

static struct sim_node *copy_node(struct copies *copies, const struct sim_node *node);

static struct sim_entry *
copy_entries(struct copies *copies, const struct sim_entry *entries, size_t count)
{
    struct sim_entry *copy = malloc((count + 1) * sizeof(*copy));
    DMQ_ASSERT(copy != NULL);
    for (size_t i = 0; i < count; i++) {
        copy[i] = entries[i];
        copy[i].node = copy_node(copies, entries[i].node);
    }
    return copy;
}

static void
copy_changes(struct copies *copies, struct sim_node *to, const struct sim_node *from)
{
    for (size_t i = 0; i < from->change_count; i++) {
        struct sim_change *change = add_change(to, from->changes[i].kind);
        *change = from->changes[i];
        if (change->data != NULL) {
            change->data = malloc(change->size);
            DMQ_ASSERT(change->data != NULL);
            memcpy(change->data, from->changes[i].data, change->size);
        }
        if (change->node != NULL) {
            change->node = copy_node(copies, change->node);
        }
    }
}

/* A reference to the copy of node. */
static struct sim_node *
copy_node(struct copies *copies, const struct sim_node *node)
{
    for (size_t i = 0; i < copies->count; i++) {
        if (copies->from[i] == node) {
            return sim_node_ref(copies->to[i]);
        }
    }
    if (copies->count == copies->capacity) {
        copies->capacity = copies->capacity == 0 ? 64 : copies->capacity * 2;
        copies->from = realloc(copies->from, copies->capacity * sizeof(void *));
        copies->to = realloc(copies->to, copies->capacity * sizeof(void *));
        DMQ_ASSERT(copies->from != NULL && copies->to != NULL);
    }
    struct sim_node *copy = sim_node_new(node->folder);
    copies->from[copies->count] = node;
    copies->to[copies->count++] = copy;
    image_copy(&copy->durable, &node->durable);
    image_copy(&copy->now, &node->now);
    copy->entries = copy_entries(copies, node->entries, node->entry_count);
    copy->entry_count = node->entry_count;
    copy->durable_entries = copy_entries(copies, node->durable_entries, node->durable_entry_count);
    copy->durable_entry_count = node->durable_entry_count;
    copy_changes(copies, copy, node);
    return copy;
}

struct sim_node *
sim_node_clone(const struct sim_node *node)
{
    struct copies copies = {NULL, NULL, 0, 0};
    struct sim_node *copy = copy_node(&copies, node);
    free(copies.from);
    free(copies.to);
    return copy;
}

uint64_t
sim_node_bytes(const struct sim_node *node)
{
    uint64_t bytes = node->now.size;
    for (size_t i = 0; i < node->entry_count; i++) {
        bytes += sim_node_bytes(node->entries[i].node);
    }
    return bytes;
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct sim_entry *
find_entry(struct sim_node *folder, const char *name)
{
    for (size_t i = 0; i < folder->entry_count; i++) {
        if (strcmp(folder->entries[i].name, name) == 0) {
            return &folder->entries[i];
        }
    }
    return NULL;
}

/* The next name of a path; false at its end. */
static bool
next_name(const char **path, char name[SIM_NAME_SIZE])
{
    while (**path == '/') {
        (*path)++;
    }
    size_t size = strcspn(*path, "/");
    DMQ_ASSERT(size < SIM_NAME_SIZE);
    memcpy(name, *path, size);
    name[size] = '\0';
    *path += size;
    return size > 0;
}

int
sim_find(struct sim_node *root, const char *path, struct sim_place *ret_place)
{
    struct sim_place place = {.parent = NULL, .node = root};
    char name[SIM_NAME_SIZE];
    while (next_name(&path, name)) {
        if (place.node == NULL) {
            return ENOENT;
        }
        if (!place.node->folder) {
            return ENOTDIR;
        }
        struct sim_entry *entry = find_entry(place.node, name);
        place.parent = place.node;
        place.node = entry == NULL ? NULL : entry->node;
        memcpy(place.name, name, sizeof(name));
    }
    *ret_place = place;
    return 0;
}

struct sim_node *
sim_find_durable(struct sim_node *root, const char *path)
{
    struct sim_node *node = root;
    char name[SIM_NAME_SIZE];
    while (node != NULL && next_name(&path, name)) {
        struct sim_node *next = NULL;
        for (size_t i = 0; i < node->durable_entry_count; i++) {
            if (strcmp(node->durable_entries[i].name, name) == 0) {
                next = node->durable_entries[i].node;
            }
        }
        node = next;
    }
    return node;
}

/* What is seen: name is now node (takes a reference), or gone if it is NULL. */
static void
set_entry(struct sim_node *folder, const char *name, struct sim_node *node)
{
    struct sim_entry *entry = find_entry(folder, name);
    if (entry != NULL) {
        sim_node_unref(entry->node);
        if (node != NULL) {
            entry->node = node;
        } else {
            *entry = folder->entries[--folder->entry_count];
        }
        return;
    }
    if (node == NULL) {
        return;
    }
    folder->entries =
        realloc(folder->entries, (folder->entry_count + 1) * sizeof(*folder->entries));
    DMQ_ASSERT(folder->entries != NULL);
    entry = &folder->entries[folder->entry_count++];
    *entry = (struct sim_entry){.node = node};
    snprintf(entry->name, sizeof(entry->name), "%s", name);
}

static struct sim_change *
change_name(struct sim_node *folder, enum sim_change_kind kind, const char *name)
{
    struct sim_change *change = add_change(folder, kind);
    snprintf(change->name, sizeof(change->name), "%s", name);
    return change;
}

struct sim_node *
sim_add_name(struct sim_node *folder, const char *name, struct sim_node *node)
{
    struct sim_change *change = change_name(folder, SIM_NAME, name);
    change->node = sim_node_ref(node);
    set_entry(folder, name, node);
    return node;
}

void
sim_remove_name(struct sim_node *folder, const char *name)
{
    change_name(folder, SIM_NAME, name);
    set_entry(folder, name, NULL);
}

static void
move_entry(struct sim_node *folder, const char *from, const char *to)
{
    struct sim_entry *entry = find_entry(folder, from);
    if (entry == NULL || strcmp(from, to) == 0) {
        return;
    }
    struct sim_node *node = sim_node_ref(entry->node);
    set_entry(folder, from, NULL);
    set_entry(folder, to, node);
}

void
sim_rename_name(struct sim_node *folder, const char *from, const char *to)
{
    struct sim_change *change = change_name(folder, SIM_RENAME, from);
    snprintf(change->name_to, sizeof(change->name_to), "%s", to);
    move_entry(folder, from, to);
}

/* What is seen becomes what is durable. */
static void
keep_entries(struct sim_node *folder)
{
    free_entries(&folder->durable_entries, &folder->durable_entry_count);
    folder->durable_entries = malloc((folder->entry_count + 1) * sizeof(struct sim_entry));
    DMQ_ASSERT(folder->durable_entries != NULL);
    for (size_t i = 0; i < folder->entry_count; i++) {
        folder->durable_entries[i] = folder->entries[i];
        sim_node_ref(folder->entries[i].node);
    }
    folder->durable_entry_count = folder->entry_count;
}

void
sim_sync_names(struct sim_node *folder)
{
    keep_entries(folder);
    free_changes(folder);
}

/* ---- contents -------------------------------------------------------------------------------- */

void
sim_write(struct sim_node *node, uint64_t pos, struct bytes data)
{
    if (data.size == 0) {
        return;
    }
    struct sim_change *change = add_change(node, SIM_WRITE);
    change->pos = pos;
    change->size = data.size;
    change->data = malloc(data.size);
    DMQ_ASSERT(change->data != NULL);
    memcpy(change->data, data.data, data.size);
    image_write(&node->now, pos, data.data, data.size);
}

void
sim_resize(struct sim_node *node, uint64_t size)
{
    add_change(node, SIM_RESIZE)->pos = size;
    image_resize(&node->now, (size_t)size);
}

void
sim_sync(struct sim_node *node)
{
    /* Not what is seen: after a sync that failed the two differ for good. */
    for (size_t i = 0; i < node->change_count; i++) {
        struct sim_change *change = &node->changes[i];
        if (change->kind == SIM_WRITE) {
            image_write(&node->durable, change->pos, change->data, change->size);
        } else {
            image_resize(&node->durable, (size_t)change->pos);
        }
    }
    free_changes(node);
}

bool
sim_flip(struct sim_node *node, uint64_t pos, unsigned bit)
{
    if (pos >= node->now.size) {
        return false;
    }
    node->now.data[pos] ^= (uint8_t)(1u << (bit & 7));
    if (pos < node->durable.size) {
        node->durable.data[pos] ^= (uint8_t)(1u << (bit & 7));
    }
    return true;
}

/* ---- crashes --------------------------------------------------------------------------------- */

static bool
is_kept(struct sim_tear *tear)
{
    switch (tear->how) {
    case SIMFS_LOSE:
        return false;
    case SIMFS_KEEP:
        return true;
    case SIMFS_TEAR:
        return rng_chance(tear->rng, tear->keep_per_mille);
    }
    DMQ_UNREACHABLE();
}

/* Each sector of a write comes to the disk or does not. */
static void
tear_write(struct sim_image *image, const struct sim_change *change, struct sim_tear *tear)
{
    uint64_t end = change->pos + change->size;
    uint64_t kept = 0;
    uint64_t lost = 0;
    for (uint64_t pos = change->pos; pos < end;) {
        uint64_t next = (pos / SIM_PIECE + 1) * SIM_PIECE;
        next = next < end ? next : end;
        if (is_kept(tear)) {
            image_write(image, pos, change->data + (pos - change->pos), (size_t)(next - pos));
            kept++;
        } else {
            lost++;
        }
        pos = next;
    }
    if (lost > 0 && end > image->size && is_kept(tear)) {
        image_resize(image, (size_t)end); /* the new size came, the data did not */
    }
    tear->counts->pieces_kept += kept;
    tear->counts->pieces_lost += lost;
    tear->counts->writes_torn += kept > 0 && lost > 0 ? 1 : 0;
}

/* Of what was done to a file since it was synced, a part becomes durable. */
static void
tear_contents(struct sim_node *node, struct sim_tear *tear)
{
    for (size_t i = 0; i < node->change_count; i++) {
        const struct sim_change *change = &node->changes[i];
        if (change->kind == SIM_WRITE) {
            tear_write(&node->durable, change, tear);
        } else if (is_kept(tear)) {
            image_resize(&node->durable, (size_t)change->pos);
        }
    }
    free_changes(node);
}

void
sim_sync_badly(struct sim_node *node, struct sim_tear *tear)
{
    tear->keep_per_mille = (unsigned)rng_below(tear->rng, 1001);
    tear_contents(node, tear);
}

static void
tear_names(struct sim_node *folder, struct sim_tear *tear)
{
    free_entries(&folder->entries, &folder->entry_count);
    folder->entries = folder->durable_entries;
    folder->entry_count = folder->durable_entry_count;
    folder->durable_entries = NULL;
    folder->durable_entry_count = 0;
    for (size_t i = 0; i < folder->change_count; i++) {
        struct sim_change *change = &folder->changes[i];
        if (!is_kept(tear)) {
            tear->counts->names_lost++;
            continue;
        }
        tear->counts->names_kept++;
        if (change->kind == SIM_RENAME) {
            move_entry(folder, change->name, change->name_to);
        } else {
            set_entry(folder, change->name, change->node);
            change->node = NULL; /* the reference went with it */
        }
    }
    free_changes(folder);
    keep_entries(folder);
}

void
sim_crash(struct sim_node *node, struct sim_tear *tear)
{
    if (!node->folder) {
        tear_contents(node, tear);
        image_copy(&node->now, &node->durable);
        return;
    }
    tear_names(node, tear);
    for (size_t i = 0; i < node->entry_count; i++) {
        sim_crash(node->entries[i].node, tear);
    }
}
