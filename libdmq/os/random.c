#include "libdmq/os/random.h"

#include <errno.h>
#include <sys/random.h>

#include "libdmq/base/assert.h"

static void
fill(void *data, size_t size)
{
    uint8_t *to = data;
    while (size > 0) {
        ssize_t got = getrandom(to, size, 0);
        DMQ_ASSERT(got > 0 || errno == EINTR); /* it has no other way to fail */
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        }
    }
}

uint64_t
random_u64(void)
{
    uint64_t value;
    fill(&value, sizeof(value));
    return value;
}

struct uuid
random_uuid(void)
{
    struct uuid id;
    fill(id.b, sizeof(id.b));
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40); /* version 4 */
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80); /* variant 1 */
    return id;
}
