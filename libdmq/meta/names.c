#include "libdmq/meta/names.h"

static bool
allowed(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

dmq_err
topic_name_check(struct bytes name, struct err_msg *err)
{
    if (name.size == 0) {
        return err_set(err, DMQ_ERR_INVALID_TOPIC, "the topic name is empty");
    }
    if (name.size > TOPIC_NAME_MAX) {
        return err_set(err, DMQ_ERR_INVALID_TOPIC,
                       "the topic name has %zu characters, at most %d are allowed", name.size,
                       TOPIC_NAME_MAX);
    }
    if (bytes_equal_str(name, ".") || bytes_equal_str(name, "..")) {
        return err_set(err, DMQ_ERR_INVALID_TOPIC, "a topic cannot be named \".\" or \"..\"");
    }
    for (size_t i = 0; i < name.size; i++) {
        if (!allowed(name.data[i])) {
            return err_set(err, DMQ_ERR_INVALID_TOPIC,
                           "the topic name has the byte 0x%02x at position %zu: only a-z A-Z 0-9 "
                           ". _ - are allowed",
                           name.data[i], i + 1);
        }
    }
    return DMQ_OK;
}

bool
topic_name_internal(struct bytes name)
{
    return name.size >= 2 && name.data[0] == '_' && name.data[1] == '_';
}
