#include "libdmq/api/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "dmq://"

static dmq_err
parse_port(const char *url, const char *from, const char *end, int32_t *ret_port,
           struct err_msg *err)
{
    int32_t port = 0;
    bool good = from < end && end - from <= 5;
    for (const char *p = from; good && p < end; p++) {
        good = isdigit((unsigned char)*p) != 0;
        port = port * 10 + (*p - '0');
    }
    if (!good || port < 1 || port > 65535) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "'%s': port '%.*s' is not a number from 1 to 65535", url, (int)(end - from),
                       from);
    }
    *ret_port = port;
    return DMQ_OK;
}

/* What stands in brackets is an IPv6 address, and nothing else has brackets. */
static dmq_err
check_brackets(const char *url, const char *host, size_t size, bool bracketed, struct err_msg *err)
{
    bool colon = memchr(host, ':', size) != NULL;
    if (memchr(host, '[', size) == NULL && memchr(host, ']', size) == NULL && colon == bracketed) {
        return DMQ_OK;
    }
    return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                   "'%.60s': brackets stand around an IPv6 address, as in dmq://[::1]:9501", url);
}

/* One of host, host:port, [ipv6], [ipv6]:port between from and end. */
static dmq_err
parse_address(const char *url, const char *from, const char *end,
              struct client_address *ret_address, struct err_msg *err)
{
    const char *host = from;
    const char *host_end = memchr(from, ':', (size_t)(end - from));
    const char *rest;
    if (*from == '[') {
        host++;
        host_end = memchr(from, ']', (size_t)(end - from));
        if (host_end == NULL) {
            return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "'%s': ']' is missing", url);
        }
        rest = host_end + 1;
    } else {
        host_end = host_end == NULL ? end : host_end;
        rest = host_end;
    }
    size_t size = (size_t)(host_end - host);
    if (size == 0 || size >= sizeof(ret_address->host)) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "'%.60s': a host is empty or too long: it should look like "
                       "dmq://host:9501,host2:9501",
                       url);
    }
    dmq_err code = check_brackets(url, host, size, host != from, err);
    if (code != DMQ_OK) {
        return code;
    }
    ret_address->port = URL_DEFAULT_PORT;
    if (rest < end && *rest != ':') {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "'%s': ':' and a port should follow ']'",
                       url);
    }
    memcpy(ret_address->host, host, size);
    ret_address->host[size] = '\0';
    return rest == end ? DMQ_OK : parse_port(url, rest + 1, end, &ret_address->port, err);
}

static bool
is_known(const struct client_address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (addresses[i].port == addresses[count].port &&
            strcmp(addresses[i].host, addresses[count].host) == 0) {
            return true;
        }
    }
    return false;
}

static dmq_err
check_characters(const char *url, struct err_msg *err)
{
    if (strncmp(url, SCHEME, strlen(SCHEME)) != 0) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "'%s' is not a URL of DMQ: it should look like dmq://host:9501,host2:9501",
                       url);
    }
    for (const char *p = url + strlen(SCHEME); *p != '\0'; p++) {
        bool good = isalnum((unsigned char)*p) || strchr(".-_:,[]%", *p) != NULL;
        if (!good) {
            return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                           "'%s': '%c' cannot stand in a host or port: it should look like "
                           "dmq://host:9501,host2:9501",
                           url, *p);
        }
    }
    return DMQ_OK;
}

dmq_err
url_parse(const char *url, struct client_address addresses[URL_MAX_ADDRESSES], size_t *ret_count,
          struct err_msg *err)
{
    size_t count = 0;
    dmq_err code = check_characters(url, err);
    const char *from = url + strlen(SCHEME);
    while (code == DMQ_OK) {
        const char *end = strchrnul(from, ',');
        if (count == URL_MAX_ADDRESSES) {
            return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "'%.60s...' has more than %d addresses",
                           url, URL_MAX_ADDRESSES);
        }
        code = parse_address(url, from, end, &addresses[count], err);
        if (code == DMQ_OK && !is_known(addresses, count)) {
            count++;
        }
        if (*end == '\0') {
            break;
        }
        from = end + 1;
    }
    if (code == DMQ_OK) {
        *ret_count = count;
    }
    return code;
}
