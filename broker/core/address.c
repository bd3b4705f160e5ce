#include "broker/core/address.h"

static const struct endpoint *
client_endpoint(const struct broker_record *broker)
{
    for (uint32_t i = 0; i < broker->endpoints_count; i++) {
        if (bytes_equal_str(broker->endpoints[i].listener, "client")) {
            return &broker->endpoints[i];
        }
    }
    return NULL;
}

static int32_t
advertised_port(const struct broker_record *broker)
{
    const struct endpoint *endpoint = client_endpoint(broker);
    if (broker->advertised_port != 0) {
        return broker->advertised_port;
    }
    return endpoint == NULL ? 0 : endpoint->port;
}

/* Whether a broker is listed under the host that the asker dialled. */
static bool
host_is_listed(const struct image *image, struct bytes host)
{
    for (uint32_t i = 0; i < image_broker_count(image); i++) {
        const struct endpoint *endpoint = client_endpoint(image_broker_at(image, i));
        if (endpoint != NULL && bytes_equal(endpoint->host, host)) {
            return true;
        }
    }
    return false;
}

static bool
ports_differ(const struct image *image)
{
    uint32_t count = image_broker_count(image);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = i + 1; j < count; j++) {
            if (advertised_port(image_broker_at(image, i)) ==
                advertised_port(image_broker_at(image, j))) {
                return false;
            }
        }
    }
    return true;
}

struct address
address_for(const struct image *image, struct bytes dialled_host,
            const struct broker_record *broker)
{
    const struct endpoint *endpoint = client_endpoint(broker);
    struct address at = {endpoint == NULL ? bytes_str("") : endpoint->host,
                         endpoint == NULL ? 0 : endpoint->port};
    if (dialled_host.size == 0 || host_is_listed(image, dialled_host)) {
        return at;
    }
    if (broker->advertised_host.size > 0) {
        return (struct address){broker->advertised_host, advertised_port(broker)};
    }
    if (ports_differ(image)) {
        return (struct address){dialled_host, advertised_port(broker)};
    }
    return at;
}
