/* Files of any bytes through `dmq produce` and `dmq consume`. Input: the field of the key, the size
 * of the delimiter, the delimiter, then the file. The lines are the file, with a newline at its
 * end; keys and values lie in their lines; printed by the default format they are the file again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/cli/format.h"
#include "libdmq/cli/key_rule.h"
#include "libdmq/cli/lines.h"

#define MAX_BYTES 65536
#define MAX_DELIM 8

static bool
lies_within(dmq_bytes part, const char *data, size_t size)
{
    const char *from = part.data;
    return from == NULL || (from >= data && from <= data + size && part.size <= size &&
                            (size_t)(from - data) + part.size <= size);
}

static void
print_line(struct out *out, const struct format *format, const struct key_rule *rule,
           const char *data, size_t size)
{
    dmq_message message = {.offset = 1};
    const struct format_record record = {.topic = "t", .message = &message};
    key_rule_apply(rule, (dmq_bytes){data, size}, &message.key, &message.value);
    DMQ_ASSERT(lies_within(message.key, data, size) && lies_within(message.value, data, size));
    DMQ_ASSERT(message.value.data != NULL || size == 0);
    message.value = (dmq_bytes){data, size};
    format_write(format, &record, out);
}

static void
check_printed(const struct out *out, const uint8_t *data, size_t size)
{
    bool adds = size > 0 && data[size - 1] != '\n';
    DMQ_ASSERT(out->size == size + adds && memcmp(out->data, data, size) == 0);
    DMQ_ASSERT(!adds || out->data[size] == '\n');
}

static void
pass(int fd, const struct key_rule *rule, const uint8_t *data, size_t size)
{
    struct lines lines;
    struct format format;
    struct out out;
    const char *reason;
    const char *line;
    size_t line_size;
    DMQ_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    DMQ_ASSERT(lseek(fd, 0, SEEK_SET) == 0);
    DMQ_ASSERT(lines_init(&lines, fd, -1) && out_init(&out, -1));
    DMQ_ASSERT(format_init(&format, "%s\\n", &reason));
    while (lines_next(&lines, &line, &line_size) == LINES_ONE) {
        print_line(&out, &format, rule, line, line_size);
    }
    check_printed(&out, data, size);
    out_deinit(&out);
    format_deinit(&format);
    lines_deinit(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 + MAX_DELIM || size > MAX_BYTES) {
        return 0;
    }
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("lines", MFD_CLOEXEC);
        DMQ_ASSERT(fd >= 0);
    }
    size_t delim_size = data[1] % (MAX_DELIM + 1);
    const struct key_rule rule = {.field = data[0] % 5,
                                  .delim = {delim_size == 0 ? NULL : data + 2, delim_size}};
    pass(fd, &rule, data + 2 + delim_size, size - 2 - delim_size);
    return 0;
}
