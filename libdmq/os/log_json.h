/* A line of the log as JSON. */
#ifndef DMQ_OS_LOG_JSON_H
#define DMQ_OS_LOG_JSON_H

#include <stddef.h>

/* Room for any message of the logger: a byte becomes six at most. */
#define LOG_JSON_SIZE 8192

/* Writes what happened (a word, then key=value; see log.h) as the members of a JSON object, the
 * word under "event": `"event":"ready","port":9501`. A number is one in JSON too. Words that are no
 * key=value become "text". message is valid UTF-8. Returns the size; ret_json ends with 0. */
size_t log_json_members(const char *message, char ret_json[LOG_JSON_SIZE]);

#endif
