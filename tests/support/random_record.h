/* Random metadata records that mostly fit an image, and at times do not. */
#ifndef TESTS_SUPPORT_RANDOM_RECORD_H
#define TESTS_SUPPORT_RANDOM_RECORD_H

#include "libdmq/base/arena.h"
#include "libdmq/base/rng.h"
#include "libdmq/meta/image.h"

/* What it refers to comes from the arena. */
void random_record(struct rng *rng, const struct image *image, struct arena *arena,
                   struct meta_record *ret_record);

#endif
