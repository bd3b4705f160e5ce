/* JSON codec of everything in messages.def, driven by its descriptors: REST, `--json` and the admin
 * calls of the ABI.
 *
 * A struct is an object, with its field's names in camelCase. Numbers and booleans are what they
 * are, str a string, uuid a string of 32 hex digits, bytes a string of base64, a list an array; but
 * a list of config_entry is an object, {"durability":"async"}, and one of config_change, too:
 * {"durability":"async","segment.bytes":null} sets one and takes one away. */
#ifndef DMQ_WIRE_CODEC_JSON_H
#define DMQ_WIRE_CODEC_JSON_H

#include "libdmq/base/arena.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/messages.h"

/* All fields of msg, a struct of desc, in the order of the table, as text on one line, to be freed
 * with free(). NULL if memory is out. */
char *msg_to_json_text(const struct struct_desc *desc, const void *msg);

/* Sets the fields of msg that the text, exactly one object, has; the others keep what they have, so
 * that the caller presets the defaults. In objects of lists they are zero. A key that stands twice
 * is an error. What is taken is copied to the arena. DMQ_ERR_INVALID_REQUEST (err names the key,
 * and for an unknown one the nearest) or DMQ_ERR_NOMEM. msg is undefined on failure. */
dmq_err msg_from_json_text(const struct struct_desc *desc, struct bytes text, struct arena *arena,
                           void *msg, struct err_msg *err);

#endif
