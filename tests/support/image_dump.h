/* Everything that an image holds, as bytes to compare: each record of its snapshot with its size
 * before it, then version and term. Also asserts that its counts are right. */
#ifndef TESTS_SUPPORT_IMAGE_DUMP_H
#define TESTS_SUPPORT_IMAGE_DUMP_H

#include "libdmq/base/buf.h"
#include "libdmq/meta/image.h"

void image_dump(const struct image *image, struct outbuf *out);

/* Equal to the last byte, digests included. */
bool image_same(const struct image *a, const struct image *b);

#endif
