/* --format of `dmq consume`, and the JSON that the tool reads from a cluster. Input: the size of
 * the specification, the specification, then a value, which is read as JSON too. Whatever it is,
 * memory is bounded, no byte beyond it is read, and a specification that is refused says why. */
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/cli/format.h"
#include "libdmq/cli/json_read.h"

#define MAX_BYTES 4096

static void
check_format(const char *spec, dmq_bytes value)
{
    struct format format;
    struct out out;
    const char *reason = NULL;
    const dmq_header headers[] = {{{"a", 1}, {"1", 1}}, {value, value}, {{"n", 1}, {NULL, 0}}};
    const dmq_message message = {
        .offset = INT64_MAX, .timestamp = -1, .key = value, .value = value, .header_count = 3};
    const struct format_record record = {
        .topic = "t", .message = &message, .headers = headers, .header_count = 3};
    if (!format_init(&format, spec, &reason)) {
        DMQ_ASSERT(reason != NULL && *reason != '\0');
        return;
    }
    DMQ_ASSERT(format.step_count <= FORMAT_STEPS_MAX);
    DMQ_ASSERT(out_init(&out, -1));
    format_write(&format, &record, &out);
    DMQ_ASSERT(out.error == 0 && out.size <= out.capacity);
    out_deinit(&out);
    format_deinit(&format);
}

static void
walk(struct json value, int depth)
{
    struct json cursor = {0};
    struct json name;
    char text[64];
    DMQ_ASSERT(strlen(json_to_text(value, text, sizeof(text))) < sizeof(text));
    DMQ_ASSERT(strlen(json_join(value, text, sizeof(text))) < sizeof(text));
    json_to_int(value, 0);
    json_to_bool(value);
    json_member(value, "a");
    if (depth == 4) { /* each level is walked again by what is above it */
        return;
    }
    for (;;) {
        struct json one = json_next(value, &cursor, &name);
        if (json_is_none(one)) {
            return;
        }
        DMQ_ASSERT(one.at >= value.at && one.end <= value.end);
        walk(one, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_BYTES) {
        return 0;
    }
    size_t spec_size = data[0] < size ? data[0] : size - 1;
    char *spec = calloc(spec_size + 1, 1);
    char *rest = calloc(size - spec_size, 1); /* terminated: one byte was the size */
    DMQ_ASSERT(spec != NULL && rest != NULL);
    memcpy(spec, data + 1, spec_size);
    memcpy(rest, data + 1 + spec_size, size - 1 - spec_size);
    check_format(spec, (dmq_bytes){rest, size - 1 - spec_size});
    walk(json_root(rest), 0);
    free(spec);
    free(rest);
    return 0;
}
