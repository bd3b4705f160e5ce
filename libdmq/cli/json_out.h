/* Writes JSON: commas and escapes are done here, the shape is the caller's. */
#ifndef DMQ_CLI_JSON_OUT_H
#define DMQ_CLI_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/cli/out.h"

enum { JSON_OUT_DEPTH_MAX = 31 };

struct json_out {
    struct out *out;
    uint32_t filled; /* a bit for each depth: something stands before the next value */
    int depth;
};

void json_out_init(struct json_out *json, struct out *out);

/* `name` is the member's name inside an object, NULL inside an array and at the top. */
void json_open(struct json_out *json, const char *name, char bracket); /* '{' or '[' */
void json_close(struct json_out *json, char bracket);                  /* '}' or ']' */
void json_text(struct json_out *json, const char *name, const char *text);
void json_utf8(struct json_out *json, const char *name, const void *data, size_t size);
void json_base64(struct json_out *json, const char *name, const void *data, size_t size);
void json_int(struct json_out *json, const char *name, int64_t value);
void json_real(struct json_out *json, const char *name, double value, int decimals);
void json_bool(struct json_out *json, const char *name, bool value);
void json_null(struct json_out *json, const char *name);

/* Whether bytes can stand in a JSON string: well-formed UTF-8 (RFC 3629). */
bool json_is_utf8(const void *data, size_t size);

#endif
