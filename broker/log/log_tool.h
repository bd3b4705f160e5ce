/* `dmq log dump` and `dmq log verify`: what is in a log's files, and whether it is right. Offline:
 * they only read, and take no lock, so a running broker may have written more by the time they
 * look.
 *
 * Both give lines to the sink, for people ("batch baseOffset=0 ...") or as one JSON object each,
 * with the same names, and return the exit code of the process. */
#ifndef BROKER_LOG_LOG_TOOL_H
#define BROKER_LOG_LOG_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/fs.h"

struct log_sink {
    /* A line without its end; valid during the call. */
    void (*line)(void *arg, const char *text, size_t size);
    void *arg;
    bool json;
    /* How far verify has come, after each batch; NULL: nobody wants to know. */
    void (*progress)(void *arg, int64_t batches, int64_t bytes);
};

/* Every batch of a .log with its records, or every entry of an .index or .timeindex. 0; 1 if the
 * file cannot be read or holds what is not sound. */
int log_tool_dump(struct fs *fs, const char *path, const struct log_sink *sink);

/* Checks everything in a partition's folder, or in all of a data folder: batches with their
 * records, that they follow each other, and indexes. A line for each finding, then one with counts.
 * 0; 1 if there is a finding or nothing to check. */
int log_tool_verify(struct fs *fs, const char *dir, const struct log_sink *sink);

#endif
