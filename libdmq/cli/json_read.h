/* Reads JSON that a cluster answered: views into the text, nothing is allocated. Whatever is not
 * there or is malformed reads as "none", so that a table prints what it can. */
#ifndef DMQ_CLI_JSON_READ_H
#define DMQ_CLI_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_READ_DEPTH_MAX = 32 };

/* A value: its text from at to end. at NULL: none. */
struct json {
    const char *at;
    const char *end;
};

struct json json_root(const char *text);

/* A member of an object. */
struct json json_member(struct json object, const char *name);

/* The next element of an array, or the next value of an object's members (its name goes to
 * *ret_name if that is not NULL). *cursor starts as {0}. none: no more. */
struct json json_next(struct json container, struct json *cursor, struct json *ret_name);

bool json_is_none(struct json value);
size_t json_count(struct json container);

/* `otherwise` if it is not a number. */
int64_t json_to_int(struct json value, int64_t otherwise);

bool json_to_bool(struct json value); /* false unless it is true */

/* "101,102" of [101,102]; cut to fit. Returns `to`. */
const char *json_join(struct json array, char *to, size_t size);

/* Text of a string without its escapes, or the text of any other value as it stands; cut to fit.
 * "" for none. Returns `to`. */
const char *json_to_text(struct json value, char *to, size_t size);

#endif
