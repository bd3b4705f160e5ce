/* The line of a value in a JSON text, which jansson does not keep: for error messages. */
#ifndef DMQ_CONF_JSON_LINE_H
#define DMQ_CONF_JSON_LINE_H

#include <stddef.h>

/* text is valid JSON, an object. Returns the line (from 1) of the key in it; or, if list is not
 * NULL, of the key in object number index of the array under the key list (of that object's start
 * if key is NULL or not in it). 0 if there is no such place. */
int json_line_of(const char *text, const char *list, size_t index, const char *key);

#endif
