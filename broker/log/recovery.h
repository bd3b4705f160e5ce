/* OPEN, the first operation of a log: finds its end again, or makes it (DESIGN: "Torn tail or
 * damage"). FORMAT.md tells it for people. */
#ifndef BROKER_LOG_RECOVERY_H
#define BROKER_LOG_RECOVERY_H

#include "broker/log/recovered.h"
#include "libdmq/base/fs.h"

/* Recovers the log that open describes. The last segment's files exist afterwards; what was cut is
 * cut durably. Doing it twice, or again after a crash within, comes to the same.
 *
 * DMQ_OK            *ret_recovered is the log
 * DMQ_ERR_DAMAGED   bad bytes below the mark; nothing was changed. *ret_recovered is what can be
 * read,
 *                   or NULL
 * others            *ret_recovered is NULL; the log may be opened again later */
dmq_err log_recover(struct fs *fs, const struct log_open *open,
                    struct log_recovered **ret_recovered, struct err_msg *msg);

#endif
