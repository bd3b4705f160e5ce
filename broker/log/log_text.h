/* Lines of fields, for people or as JSON: what log_dump.c and log_verify.c write with. */
#ifndef BROKER_LOG_LOG_TEXT_H
#define BROKER_LOG_LOG_TEXT_H

#include <stdint.h>

#include "broker/log/log_tool.h"
#include "libdmq/base/buf.h"

struct log_text {
    const struct log_sink *sink;
    struct outbuf line;
    bool first; /* no field of the line, or of the list's item, yet */
};

void log_text_init(struct log_text *text, const struct log_sink *sink);
void log_text_deinit(struct log_text *text);

/* A line of kind "batch": {"type":"batch", ... or batch ... */
void log_text_begin(struct log_text *text, const char *kind);
void log_text_end(struct log_text *text);

void log_text_i64(struct log_text *text, const char *name, int64_t value);
void log_text_bool(struct log_text *text, const char *name, bool value);

/* A word of ours. */
void log_text_word(struct log_text *text, const char *name, const char *value);

/* Bytes from outside; data == NULL is null. In JSON whole: as a string if it is UTF-8, else as
 * "<name>Base64". For people at most some hundred bytes, what is not UTF-8 in hex. */
void log_text_bytes(struct log_text *text, const char *name, struct bytes value);

/* A list of objects: for each item begin_item ... end_item. */
void log_text_begin_list(struct log_text *text, const char *name);
void log_text_begin_item(struct log_text *text, bool first);
void log_text_end_item(struct log_text *text);
void log_text_end_list(struct log_text *text);

#endif
