#include "broker/log/quarantine.h"

#include <errno.h>
#include <string.h>

#include "broker/log/log_files.h"

#define MARK ".damaged-"
#define TOPIC_NAME_SIZE 32 /* 32 hex digits */

dmq_err
quarantine_move(struct fs *fs, const char *dir, const char *aside, struct err_msg *msg)
{
    char topic[LOG_DIR_SIZE];
    char to[LOG_PATH_SIZE];
    log_parent(topic, dir);
    int error = fs->ops->rename(fs, dir, log_join(to, topic, aside));
    if (error == 0 || error == ENOENT) {
        error = fs->ops->sync_dir(fs, topic); /* also what an earlier try may have left */
    }
    return error == 0 || error == ENOENT ? DMQ_OK : log_failed(msg, "setting aside", dir, error);
}

/* ---- counting -------------------------------------------------------------------------------- */

struct count {
    struct fs *fs;
    const char *data_dir;
    int64_t folders;
};

static int
note_partition(void *arg, const char *name)
{
    struct count *count = arg;
    count->folders += strstr(name, MARK) != NULL ? 1 : 0;
    return 0;
}

/* A topic may go while it is looked at. */
static int
note_topic(void *arg, const char *name)
{
    struct count *count = arg;
    char path[LOG_PATH_SIZE];
    if (strlen(name) != TOPIC_NAME_SIZE || strspn(name, "0123456789abcdef") != TOPIC_NAME_SIZE) {
        return 0; /* the store and the like */
    }
    log_join(path, count->data_dir, name);
    int error = count->fs->ops->list(count->fs, path, note_partition, count);
    return error == ENOENT || error == ENOTDIR ? 0 : error;
}

int64_t
quarantine_count(struct fs *fs, const char *data_dir)
{
    struct count count = {.fs = fs, .data_dir = data_dir};
    int error = fs->ops->list(fs, data_dir, note_topic, &count);
    return error == 0 ? count.folders : -1;
}
