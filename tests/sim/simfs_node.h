/* Files and folders of the simulator's disk: what is durable, what was done since, and what is seen
 * now. Only simfs.c uses this. */
#ifndef TESTS_SIM_SIMFS_NODE_H
#define TESTS_SIM_SIMFS_NODE_H

#include "libdmq/base/rng.h"
#include "tests/sim/simfs.h"

#define SIM_NAME_SIZE 64
#define SIM_PIECE 512

struct sim_node;

struct sim_image {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

struct sim_entry {
    char name[SIM_NAME_SIZE];
    struct sim_node *node; /* a reference */
};

/* Something done that is not durable. */
enum sim_change_kind {
    SIM_WRITE,  /* a file: data at pos */
    SIM_RESIZE, /* a file: to pos bytes */
    SIM_NAME,   /* a folder: name is now node; NULL: removed */
    SIM_RENAME  /* a folder: name is gone, name_to is what it was */
};

struct sim_change {
    enum sim_change_kind kind;
    uint64_t pos;
    uint8_t *data; /* owned */
    size_t size;
    char name[SIM_NAME_SIZE];
    char name_to[SIM_NAME_SIZE];
    struct sim_node *node; /* a reference, or NULL */
};

struct sim_node {
    size_t refs;
    bool folder;
    int64_t modified_ms;      /* file */
    struct sim_image durable; /* file */
    struct sim_image now;
    struct sim_entry *durable_entries; /* folder */
    size_t durable_entry_count;
    struct sim_entry *entries;
    size_t entry_count;
    struct sim_change *changes; /* since it was synced, oldest first */
    size_t change_count;
    size_t change_capacity;
};

struct sim_node *sim_node_new(bool folder);
struct sim_node *sim_node_ref(struct sim_node *node);
void sim_node_unref(struct sim_node *node);
struct sim_node *sim_node_clone(const struct sim_node *node);
uint64_t sim_node_bytes(const struct sim_node *node);

/* A path: the folder that it lies in, its last name, and what is there (NULL: nothing). ENOENT or
 * ENOTDIR if there is no such folder. */
struct sim_place {
    struct sim_node *parent;
    struct sim_node *node;
    char name[SIM_NAME_SIZE];
};
int sim_find(struct sim_node *root, const char *path, struct sim_place *ret_place);

/* What is at a path by durable names alone; NULL: nothing. */
struct sim_node *sim_find_durable(struct sim_node *root, const char *path);

static inline struct bytes
sim_contents(const struct sim_node *node)
{
    return (struct bytes){node->now.data, node->now.size};
}

struct sim_range {
    uint64_t pos;
    uint64_t end;
};

void sim_write(struct sim_node *node, uint64_t pos, struct bytes data);
void sim_resize(struct sim_node *node, uint64_t size);
void sim_sync(struct sim_node *node);
bool sim_flip(struct sim_node *node, uint64_t pos, unsigned bit);

/* Takes the reference to node; returns it. */
struct sim_node *sim_add_name(struct sim_node *folder, const char *name, struct sim_node *node);
void sim_remove_name(struct sim_node *folder, const char *name);
void sim_rename_name(struct sim_node *folder, const char *from, const char *to);
void sim_sync_names(struct sim_node *folder);

struct sim_tear {
    enum simfs_crash how;
    unsigned keep_per_mille; /* SIMFS_TEAR: chance of each piece */
    struct rng *rng;
    struct simfs_counts *counts;
};

/* The sync failed: part of what was not durable is now, the rest never will be unless it is written
 * again, though reads still show it. */
void sim_sync_badly(struct sim_node *node, struct sim_tear *tear);

/* The power failed: of the node, and all below it, is left what tear says. */
void sim_crash(struct sim_node *node, struct sim_tear *tear);

#endif
