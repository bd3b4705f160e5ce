/* How `dmq produce` takes a record's key and value out of a line. Pure. */
#ifndef DMQ_CLI_KEY_RULE_H
#define DMQ_CLI_KEY_RULE_H

#include <stdint.h>

#include "dmq/dmq.h"

struct key_rule {
    dmq_bytes delim; /* data NULL: none was given */
    int64_t field;   /* 1 is the first; 0: none was given */
};

/* Sets *ret_key and *ret_value, which point into the line.
 * - No rule: no key; the value is the line.
 * - delim: the key is what stands before its first occurrence, the value what stands behind it. A
 *   line without it has no key.
 * - field: the value is the whole line, the key its field of that number; fields are separated by
 *   delim, else by a comma. Quotes mean nothing. A line with fewer fields has no key. */
void key_rule_apply(const struct key_rule *rule, dmq_bytes line, dmq_bytes *ret_key,
                    dmq_bytes *ret_value);

#endif
