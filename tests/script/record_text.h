/* Metadata records as lines of a script. */
#ifndef TESTS_SCRIPT_RECORD_TEXT_H
#define TESTS_SCRIPT_RECORD_TEXT_H

#include "libdmq/base/buf.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/messages.h"

/* One of four texts that are used in turn. */
const char *record_text_id(struct uuid id);

/* Without the end of the line. */
void record_text_partition(struct outbuf *out, const struct partition_record *p);

/* A topic, a broker, any record; the last with the end of its line. */
void record_text_topic(struct outbuf *out, const struct topic_record *topic);
void record_text_broker(struct outbuf *out, const struct broker_record *b);
void record_text_print(struct outbuf *out, const struct meta_record *record);

/* The records of an encoded metadata_entry, each on a line of its own, indented. */
void record_text_entry(struct outbuf *out, struct bytes encoded);

#endif
