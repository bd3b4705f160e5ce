/* Whole entries of the metadata log and whole images: what a push carries. All or nothing. */
#ifndef DMQ_META_ENTRY_H
#define DMQ_META_ENTRY_H

#include "libdmq/meta/image.h"
#include "libdmq/meta/rows.h"

/* Applies what was committed at one version. DMQ_ERR_STALE_METADATA unless it is the version after
 * the image's and its term does not fall; DMQ_ERR_UNSUPPORTED_VERSION for a record that this
 * program does not know; DMQ_ERR_INVALID_REQUEST or DMQ_ERR_NOMEM for a bad one. On any error the
 * image is as before. rows, if not NULL, notes what was touched (nothing on error). There must be
 * no undo list. */
dmq_err meta_apply_entry(struct image *image, const struct metadata_entry *entry,
                         struct meta_rows *rows, struct err_msg *err);

/* Replaces the image by a snapshot: one entry, whose records build it from nothing. Errors as
 * above, but for the version, which may be any. *image is another object afterwards. rows notes
 * every row of the old and the new image. */
dmq_err meta_install(struct image **image, const struct metadata_entry *snapshot,
                     struct meta_rows *rows, struct err_msg *err);

/* Hands out the encoded records that rebuild the image, in an order that meta_install takes; the
 * view lives until emit returns. An error of emit ends it and is returned; DMQ_ERR_NOMEM. */
dmq_err meta_snapshot(const struct image *image, dmq_err (*emit)(void *arg, struct bytes record),
                      void *arg);

#endif
