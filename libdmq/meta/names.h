/* Topic names: 1 to 249 of a-z A-Z 0-9 . _ -, but not "." or ".." (Kafka's rules). */
#ifndef DMQ_META_NAMES_H
#define DMQ_META_NAMES_H

#include <stdbool.h>

#include "libdmq/base/bytes.h"
#include "libdmq/base/err.h"

#define TOPIC_NAME_MAX 249

/* DMQ_ERR_INVALID_TOPIC with the reason. */
dmq_err topic_name_check(struct bytes name, struct err_msg *err);

/* Begins with "__": kept by the cluster for itself, clients cannot create it. */
bool topic_name_internal(struct bytes name);

#endif
