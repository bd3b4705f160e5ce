/* msgpack codec of everything in messages.def, driven by its descriptors.
 *
 * Encoding uses msgpack-c's packer. Decoding uses our own cursor (reader.h): nothing is allocated
 * from a declared count before the bytes that it promises are there, and depth, nodes and sizes are
 * bounded, for msgpack-c's unpacker would reserve gigabytes for a frame of five bytes. */
#ifndef DMQ_WIRE_CODEC_H
#define DMQ_WIRE_CODEC_H

#include "libdmq/base/arena.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/messages.h"

/* Appends msg, a struct of desc, at the given version of its call. Lack of memory shows as
 * out->failed. A str, bytes or list above its limit is our own bug. */
void msg_encode(const struct struct_desc *desc, int version, const void *msg, struct outbuf *out);

/* The same as one buffer; NULL if memory is out. */
struct buf *msg_encode_buf(const struct struct_desc *desc, int version, const void *msg);

/* Fills msg, a struct of desc, from exactly one frame. Lists come from the arena; str and bytes
 * point into the frame. Returns DMQ_OK, DMQ_ERR_INVALID_REQUEST (err says which field and why), or
 * DMQ_ERR_NOMEM. msg is undefined on failure. */
dmq_err msg_decode(const struct struct_desc *desc, int version, struct bytes frame,
                   struct arena *arena, void *msg, struct err_msg *err);

/* A metadata record, [type, version, fields], at the newest version. */
void record_encode(int type, const void *body, struct outbuf *out);

/* One decoded record. */
struct meta_record {
    const struct record_desc *desc;
    union {
        struct cluster_record cluster;
        struct broker_record broker;
        struct broker_change_record broker_change;
        struct topic_record topic;
        struct partition_record partition;
        struct topic_removed_record topic_removed;
        struct producer_ids_record producer_ids;
        struct request_spent_record request_spent;
        struct image_record image;
    } u;
};

/* As msg_decode; a type or version that is not in the table is DMQ_ERR_UNSUPPORTED_VERSION: the
 * reader must stop, never skip. */
dmq_err record_decode(struct bytes frame, struct arena *arena, struct meta_record *ret_record,
                      struct err_msg *err);

#endif
