/* The order makes every crash visible. The store goes first, and that is synced: a second copy
 * alone is a store that lost everything. The copy goes next; then both are missing in a folder that
 * belongs to a cluster, which is damage as well until the caller makes them anew. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/store/internal.h"

#define PREFIX "damaged-"
#define MAX_PATH 512

static int
note_number(void *arg, const char *name)
{
    uint32_t *highest = arg;
    uint32_t number;
    if (strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
        sscanf(name + strlen(PREFIX), "%9" SCNu32 "-", &number) == 1 && number > *highest) {
        *highest = number;
    }
    return 0;
}

static int
rename_synced(struct fs *fs, const char *data_dir, const char *what, const char *name)
{
    char from[MAX_PATH], to[MAX_PATH + RAFT_STORE_MAX_NAME];
    int size = snprintf(from, sizeof(from), "%s/%s", data_dir, what);
    DMQ_ASSERT(size > 0 && (size_t)size < sizeof(from));
    snprintf(to, sizeof(to), "%s/%s-%s", data_dir, name, what);
    int error = fs->ops->rename(fs, from, to);
    if (error == ENOENT) {
        return 0;
    }
    return error != 0 ? error : fs->ops->sync_dir(fs, data_dir);
}

dmq_err
raft_store_set_aside(struct fs *fs, const char *data_dir, char ret_name[RAFT_STORE_MAX_NAME],
                     struct err_msg *err)
{
    char name[RAFT_STORE_MAX_NAME];
    uint32_t highest = 0;
    int error = fs->ops->list(fs, data_dir, note_number, &highest);
    snprintf(name, sizeof(name), PREFIX "%" PRIu32, highest + 1);
    if (error == 0) {
        error = rename_synced(fs, data_dir, STORE_NAME, name);
    }
    if (error == 0) {
        error = rename_synced(fs, data_dir, SECOND_COPY_NAME, name);
    }
    if (error != 0) {
        return err_set(err, DMQ_ERR_IO,
                       "setting the damaged store in %s aside failed with error %d", data_dir,
                       error);
    }
    memcpy(ret_name, name, sizeof(name));
    return DMQ_OK;
}
