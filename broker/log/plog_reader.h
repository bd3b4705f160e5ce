/* A partition's log, the half of the reader threads: READ and FIND_TIME. A reader is used by one
 * thread; it shares nothing with the lane that writes but the files. It never looks at what lies at
 * or beyond an operation's limit, and so never at bytes that are being written. */
#ifndef BROKER_LOG_PLOG_READER_H
#define BROKER_LOG_PLOG_READER_H

#include "broker/log/disk_op.h"
#include "libdmq/base/fs.h"

struct plog_reader;

struct plog_reader *plog_reader_new(struct fs *fs);
void plog_reader_free(struct plog_reader *reader);

/* Carries out a READ or FIND_TIME, takes over what it owns. */
void plog_reader_exec(struct plog_reader *reader, struct disk_op *op, struct disk_done *ret_done);

#endif
