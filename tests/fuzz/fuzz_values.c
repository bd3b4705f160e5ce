/* What people write behind an option of the tool: whole numbers, places and times, escapes, a URL.
 * What is taken means what it says, and what it means is taken when it is written out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dmq/dmq.h"
#include "libdmq/api/url.h"
#include "libdmq/base/assert.h"
#include "libdmq/cli/value.h"

#define MAX_BYTES 4096
#define NOW_MS INT64_C(1700000000000)

static void
check_int(const char *text)
{
    char again[32];
    int64_t value;
    int64_t second;
    if (value_int(text, &value)) {
        snprintf(again, sizeof(again), "%" PRId64, value);
        DMQ_ASSERT(value_int(again, &second) && second == value);
    }
}

static void
check_position(const char *text)
{
    char again[32];
    int64_t offset = INT64_MIN;
    int64_t timestamp = INT64_MIN;
    int64_t second = 0;
    if (!value_position(text, NOW_MS, &offset, &timestamp)) {
        return;
    }
    if (offset == DMQ_OFFSET_TIMESTAMP) {
        DMQ_ASSERT(timestamp >= 0); /* of records: none is before 1970 */
        snprintf(again, sizeof(again), "@%" PRId64, timestamp);
        DMQ_ASSERT(value_position(again, NOW_MS, &offset, &second) && second == timestamp);
    } else {
        DMQ_ASSERT(offset >= 0 || offset == DMQ_OFFSET_START || offset == DMQ_OFFSET_END);
    }
}

static void
check_escapes(const char *text)
{
    size_t room = strlen(text);
    char *to = malloc(room + 1);
    DMQ_ASSERT(to != NULL);
    size_t size = value_unescape(text, to);
    DMQ_ASSERT(size == SIZE_MAX || size <= room);
    free(to);
}

/* Written out, they are the same addresses. */
static void
check_url(const char *text)
{
    static struct client_address addresses[URL_MAX_ADDRESSES];
    static struct client_address second[URL_MAX_ADDRESSES];
    static char again[URL_MAX_ADDRESSES * 300];
    struct err_msg err = {0};
    size_t count = 0;
    size_t second_count = 0;
    size_t at = 0;
    if (url_parse(text, addresses, &count, &err) != DMQ_OK) {
        DMQ_ASSERT(err.text[0] != '\0');
        return;
    }
    DMQ_ASSERT(count >= 1 && count <= URL_MAX_ADDRESSES);
    for (size_t i = 0; i < count; i++) {
        bool bracket = strchr(addresses[i].host, ':') != NULL;
        DMQ_ASSERT(addresses[i].host[0] != '\0');
        DMQ_ASSERT(addresses[i].port > 0 && addresses[i].port <= 65535);
        at += (size_t)snprintf(again + at, sizeof(again) - at, "%s%s%s%s:%d",
                               i == 0 ? "dmq://" : ",", bracket ? "[" : "", addresses[i].host,
                               bracket ? "]" : "", (int)addresses[i].port);
        DMQ_ASSERT(at < sizeof(again));
    }
    DMQ_ASSERT(url_parse(again, second, &second_count, &err) == DMQ_OK && second_count == count);
    for (size_t i = 0; i < count; i++) {
        DMQ_ASSERT(strcmp(addresses[i].host, second[i].host) == 0);
        DMQ_ASSERT(addresses[i].port == second[i].port);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_BYTES) {
        return 0;
    }
    char *text = calloc(size + 1, 1);
    DMQ_ASSERT(text != NULL);
    memcpy(text, data, size);
    check_int(text);
    check_position(text);
    check_escapes(text);
    check_url(text);
    free(text);
    return 0;
}
