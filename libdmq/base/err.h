/* Names, texts and classes of the errors in dmq/errors.h, and the sentence for people that goes
 * with one. */
#ifndef DMQ_BASE_ERR_H
#define DMQ_BASE_ERR_H

#include "dmq/errors.h"

/* "UNKNOWN_TOPIC_OR_PARTITION"; "UNKNOWN" for a number that is not in the table. Static. */
const char *err_name(dmq_err err);

/* The text of the table. Static. */
const char *err_text(dmq_err err);

/* A DMQ_CLASS_*. */
int32_t err_class(dmq_err err);

/* A code with its sentence: what, where, why, what to do. Caller-owned; never on the heap. */
struct err_msg {
    dmq_err code;
    char text[256];
};

/* Sets both and returns code. A sentence that is too long is cut; what is not UTF-8 in it becomes
 * '?'. */
__attribute__((format(printf, 3, 4))) dmq_err err_set(struct err_msg *msg, dmq_err code,
                                                      const char *format, ...);

#endif
