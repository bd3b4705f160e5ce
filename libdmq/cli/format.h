/* --format of `dmq consume`: kcat's tokens.
 *
 *   %t topic  %p partition  %o offset  %T timestamp (ms)  %k key  %s value  %h headers (a=1,b=2)
 *   %K %S sizes of key and value, -1 for null  %% percent  \t \n \r \0 \\ \xHH */
#ifndef DMQ_CLI_FORMAT_H
#define DMQ_CLI_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmq/dmq.h"
#include "libdmq/cli/out.h"

enum { FORMAT_STEPS_MAX = 64 };

struct format_step {
    char token;       /* the letter; '=' is text as it stands */
    const char *text; /* into struct format's text */
    size_t size;
};

struct format {
    char *text; /* owned: the specification without escapes */
    struct format_step steps[FORMAT_STEPS_MAX];
    size_t step_count;
};

struct format_record {
    const char *topic;
    int32_t partition;
    const dmq_message *message;
    const dmq_header *headers;
    size_t header_count;
};

/* False: *ret_reason says what is wrong with the specification; nothing is to be freed. */
bool format_init(struct format *format, const char *spec, const char **ret_reason);
void format_deinit(struct format *format);

/* Whether headers must be read for it. */
bool format_wants_headers(const struct format *format);

void format_write(const struct format *format, const struct format_record *record, struct out *out);

#endif
