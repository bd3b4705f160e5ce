/* Where clients reach a broker. */
#ifndef BROKER_CORE_ADDRESS_H
#define BROKER_CORE_ADDRESS_H

#include "libdmq/meta/image.h"

struct address {
    struct bytes host; /* points into the image, or at dialled_host */
    int32_t port;
};

/* Who dialled a listed host, or nothing that is known, is inside: host and port. Who did not is
 * told the advertised host; without one the host that it dialled works if the ports tell the
 * brokers apart (all of them published on one machine). */
struct address address_for(const struct image *image, struct bytes dialled_host,
                           const struct broker_record *broker);

#endif
