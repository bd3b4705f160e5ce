/* Folders of damaged logs, which are set aside: <data>/<topic id>/<partition>.damaged-<time>. They
 * hold what was left of the log, as it was. Nothing here removes them: whoever knows that nobody
 * needs them does. */
#ifndef BROKER_LOG_QUARANTINE_H
#define BROKER_LOG_QUARANTINE_H

#include "libdmq/base/err.h"
#include "libdmq/base/fs.h"

/* Gives the folder dir the name `aside`, in the folder that it lies in, durably. A folder that is
 * missing was moved already. */
dmq_err quarantine_move(struct fs *fs, const char *dir, const char *aside, struct err_msg *msg);

/* How many there are below the data folder; -1 if that cannot be told. */
int64_t quarantine_count(struct fs *fs, const char *data_dir);

#endif
