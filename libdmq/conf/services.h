/* services.json: who is in the cluster, and where. */
#ifndef DMQ_CONF_SERVICES_H
#define DMQ_CONF_SERVICES_H

#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/err.h"

#define SERVICES_MAX_NODES 1000    /* of each sort */
#define SERVICES_MAX_CONTROLLERS 7 /* each has a vote */
#define SERVICES_MAX_NAME 256      /* with the 0 */

#define SERVICES_CONTROLLER_PORT 9510
#define SERVICES_BROKER_PORT 9501
#define SERVICES_PEER_PORT_OFFSET 1000

struct service_controller {
    int32_t id;
    char host[SERVICES_MAX_NAME];        /* where others reach it */
    char listen_host[SERVICES_MAX_NAME]; /* what it binds to: host, unless the file says more */
    int32_t port;
    int32_t http_port; /* 0: no HTTP */
};

struct service_broker {
    int32_t id;
    char host[SERVICES_MAX_NAME];
    char listen_host[SERVICES_MAX_NAME];
    int32_t port;                            /* for clients */
    int32_t peer_port;                       /* for nodes */
    int32_t http_port;                       /* 0: no HTTP */
    char rack[SERVICES_MAX_NAME];            /* empty: none */
    char advertised_host[SERVICES_MAX_NAME]; /* empty: none */
    int32_t advertised_port;                 /* port, unless the file says more */
    int32_t controller;                      /* the one that it asks first */
};

struct services {
    char cluster[SERVICES_MAX_NAME];
    struct service_controller *controllers;
    size_t controller_count; /* 1 to SERVICES_MAX_CONTROLLERS */
    struct service_broker *brokers;
    size_t broker_count;
};

/* Reads the file source; or source itself, if it begins with '{'. Returns DMQ_OK,
 * DMQ_ERR_INVALID_CONFIG (err names file, line, field and what to do), DMQ_ERR_IO or
 * DMQ_ERR_NOMEM. */
dmq_err services_load(const char *source, struct services *ret_services, struct err_msg *err);
void services_deinit(struct services *services);

/* NULL if there is none. */
const struct service_controller *services_controller(const struct services *services, int32_t id);
const struct service_broker *services_broker(const struct services *services, int32_t id);

#endif
