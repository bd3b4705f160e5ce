#include "libdmq/net/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define NUMERIC_SIZE 64 /* a numeric IPv6 address with its interface */

const char *
address_print(const char *host, int32_t port, char text[ADDRESS_SIZE])
{
    bool is_ipv6 = strchr(host, ':') != NULL;
    snprintf(text, ADDRESS_SIZE, "tcp://%s%s%s:%d", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "",
             port);
    return text;
}

dmq_err
address_resolve(const char *host, int32_t port, char text[ADDRESS_SIZE], struct err_msg *err)
{
    char numeric[NUMERIC_SIZE];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (host[0] == 0 || strcmp(host, "*") == 0) {
        address_print("*", port, text);
        return DMQ_OK;
    }
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc == 0) {
        /* IPv4 first: what "localhost" means to everybody who dials it. */
        const struct addrinfo *best = found;
        for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
            if (a->ai_family == AF_INET) {
                best = a;
                break;
            }
        }
        rc = getnameinfo(best->ai_addr, best->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
                         NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    if (rc != 0) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "host '%.100s' cannot be looked up: %s: check services.json", host,
                       gai_strerror(rc));
    }
    address_print(numeric, port, text);
    return DMQ_OK;
}
