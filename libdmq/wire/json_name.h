/* Names of the table as JSON has them. */
#ifndef DMQ_WIRE_JSON_NAME_H
#define DMQ_WIRE_JSON_NAME_H

#define JSON_NAME_MAX 64 /* with the terminator */

/* leader_epoch -> leaderEpoch; returns to. */
const char *json_name(const char *name, char to[JSON_NAME_MAX]);

#endif
