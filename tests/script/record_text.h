/* Metadata records as lines of a script. */
#ifndef TESTS_SCRIPT_RECORD_TEXT_H
#define TESTS_SCRIPT_RECORD_TEXT_H

#include "libdmq/base/buf.h"
#include "libdmq/wire/messages.h"

/* One of four texts that are used in turn. */
const char *record_text_id(struct uuid id);

/* Without the end of the line. */
void record_text_partition(struct outbuf *out, const struct partition_record *p);

#endif
