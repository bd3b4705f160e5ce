#include "libdmq/net/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

const char *
address_print(const char *host, int32_t port, char text[ADDRESS_SIZE])
{
    bool is_ipv6 = strchr(host, ':') != NULL;
    snprintf(text, ADDRESS_SIZE, "tcp://%s%s%s:%d", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "",
             port);
    return text;
}

static void
add_family(const struct addrinfo *found, int family, struct addresses *to)
{
    for (const struct addrinfo *a = found; a != NULL && to->count < ADDRESS_MAX; a = a->ai_next) {
        if (a->ai_family == family &&
            getnameinfo(a->ai_addr, a->ai_addrlen, to->numeric[to->count], ADDRESS_NUMERIC_SIZE,
                        NULL, 0, NI_NUMERICHOST) == 0) {
            to->count++;
        }
    }
}

static const char *
find(const char *host, int flags, struct addresses *ret_addresses)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    struct addresses addresses = {0};
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc != 0) {
        return gai_strerror(rc);
    }
    add_family(found, AF_INET, &addresses);
    add_family(found, AF_INET6, &addresses);
    freeaddrinfo(found);
    if (addresses.count == 0) {
        return "it has no address of IPv4 or IPv6";
    }
    *ret_addresses = addresses;
    return NULL;
}

bool
address_take(const char *host, struct addresses *ret_addresses)
{
    return find(host, AI_NUMERICHOST, ret_addresses) == NULL;
}

const char *
address_find(const char *host, struct addresses *ret_addresses)
{
    return find(host, 0, ret_addresses);
}

dmq_err
address_resolve(const char *host, int32_t port, char text[ADDRESS_SIZE], struct err_msg *err)
{
    struct addresses found;
    if (host[0] == 0 || strcmp(host, "*") == 0) {
        address_print("*", port, text);
        return DMQ_OK;
    }
    const char *why = address_find(host, &found);
    if (why != NULL) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "host '%.100s' cannot be looked up: %s: check services.json", host, why);
    }
    address_print(found.numeric[0], port, text);
    return DMQ_OK;
}
