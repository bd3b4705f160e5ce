/* services.json. What is taken is a cluster that daemons can start from: ids and ports in range,
 * nobody twice, every pairing with a controller that is there. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/conf/services.h"

#define MAX_BYTES 65536

static bool
is_port(int32_t port)
{
    return port > 0 && port <= 65535;
}

static void
check_controllers(const struct services *services)
{
    DMQ_ASSERT(services->controller_count >= 1);
    DMQ_ASSERT(services->controller_count <= SERVICES_MAX_CONTROLLERS);
    for (size_t i = 0; i < services->controller_count; i++) {
        const struct service_controller *one = &services->controllers[i];
        DMQ_ASSERT(services_controller(services, one->id) == one); /* no id stands twice */
        DMQ_ASSERT(one->id >= 0 && one->host[0] != '\0' && is_port(one->port));
        DMQ_ASSERT(one->http_port == 0 || is_port(one->http_port));
    }
}

static void
check_brokers(const struct services *services)
{
    DMQ_ASSERT(services->broker_count <= SERVICES_MAX_NODES);
    for (size_t i = 0; i < services->broker_count; i++) {
        const struct service_broker *one = &services->brokers[i];
        DMQ_ASSERT(services_broker(services, one->id) == one);
        DMQ_ASSERT(one->id >= 0 && one->host[0] != '\0' && one->listen_host[0] != '\0');
        DMQ_ASSERT(is_port(one->port) && is_port(one->peer_port) && one->port != one->peer_port);
        DMQ_ASSERT(one->http_port == 0 || is_port(one->http_port));
        DMQ_ASSERT(is_port(one->advertised_port));
        DMQ_ASSERT(services_controller(services, one->controller) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct services services;
    struct err_msg err = {0};
    if (size > MAX_BYTES) {
        return 0;
    }
    char *text = calloc(size + 2, 1);
    DMQ_ASSERT(text != NULL);
    text[0] = '{'; /* else it would name a file */
    memcpy(text + 1, data, size);
    if (services_load(text, &services, &err) == DMQ_OK) {
        check_controllers(&services);
        check_brokers(&services);
        services_deinit(&services);
    } else {
        DMQ_ASSERT(err.text[0] != '\0');
    }
    free(text);
    return 0;
}
