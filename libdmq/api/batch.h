/* Records that were read, in place: the views of the messages lie in the frame that came from the
 * broker, or in what a compressed batch unfolded to. */
#ifndef LIBDMQ_API_BATCH_H
#define LIBDMQ_API_BATCH_H

#include <stdatomic.h>

#include "dmq/dmq.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/batch_read.h"

/* A dmq_batch holds that many records, unless one record batch alone has more: few enough for the
 * messages to stay in the processor's cache until they are read. */
#define BATCH_ENOUGH 4096

struct dmq_batch {
    atomic_uint refs;
    char topic[250];
    int32_t partition;
    int64_t high_watermark;
    dmq_message *messages;
    size_t count;
    size_t capacity;
    struct bytes *headers; /* of each message, encoded; NULL if none has any */
    struct buf **bufs;     /* that the views lie in; one reference each */
    size_t buf_count;
};

/* A frame that is being read. */
struct batch_cursor {
    struct buf *frame;
    size_t pos;     /* of the next record batch */
    int64_t offset; /* first record that is wanted; moves on */
};

/* Builds the next dmq_batch of the frame: *ret_batch is NULL if nothing wanted is left in it.
 * DMQ_ERR_CORRUPT_BATCH, DMQ_ERR_UNSUPPORTED_COMPRESSION, DMQ_ERR_BATCH_TOO_LARGE (unfolded),
 * DMQ_ERR_NOMEM, with a sentence. Topic, partition and high watermark are the caller's to set. */
dmq_err batch_read(struct batch_cursor *cursor, struct batch_reader *reader, bool check_crcs,
                   dmq_batch **ret_batch, struct err_msg *err);

#endif
