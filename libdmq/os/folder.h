/* A daemon's data folder: made if it is missing, locked against a second process, and identified.
 *
 *   <path>/lock       held with flock() while the process lives; holds its pid, for people
 *   <path>/identity   text, key = value, with a checksum: who the folder belongs to
 *
 * The disk id is drawn when the folder is first used, and anew only when what it held was set aside
 * as damaged: a node with another disk id does not hold what the former one held. */
#ifndef DMQ_OS_FOLDER_H
#define DMQ_OS_FOLDER_H

#include <stdbool.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/err.h"

#define FOLDER_FORMAT 1 /* of everything in the folder; a newer one is refused */
#define FOLDER_MAX_PATH 400

struct folder_identity {
    char role[16]; /* "controller" or "broker" */
    int32_t node_id;
    struct uuid disk_id;
    struct uuid cluster_id; /* zero until the node has joined a cluster */
};

struct folder {
    char path[FOLDER_MAX_PATH];
    int lock_fd; /* -1: not open */
    bool fresh;  /* the identity was made by this open: the folder held nothing */
    struct folder_identity identity;
};

/* Makes, locks and identifies the folder; what it made is synced. Errors: DMQ_ERR_LOCKED,
 * DMQ_ERR_IO, DMQ_ERR_DAMAGED (the identity file cannot be read), DMQ_ERR_INVALID_ARGUMENT (it
 * belongs to another node, or holds something else). */
dmq_err folder_open(const char *path, const char *role, int32_t node_id, struct folder *ret_folder,
                    struct err_msg *err);

/* Gives the lock back. */
void folder_close(struct folder *folder);

/* Stores the cluster that the node has joined, synced. A folder keeps its first one: another is
 * DMQ_ERR_INCONSISTENT_CLUSTER_ID. */
dmq_err folder_set_cluster(struct folder *folder, struct uuid cluster_id, struct err_msg *err);

/* Draws and stores a new disk id, synced; the cluster stays. Call it when what the folder held is
 * set aside: under the former id, others would count on what is no longer there. */
dmq_err folder_renew_disk(struct folder *folder, struct err_msg *err);

#endif
