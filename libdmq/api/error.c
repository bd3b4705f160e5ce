#include "libdmq/api/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *
dmq_version(void)
{
    return DMQ_VERSION;
}

const char *
dmq_error_name(dmq_err code)
{
    return err_name(code);
}

const char *
dmq_error_text(dmq_err code)
{
    return err_text(code);
}

int32_t
dmq_error_class(dmq_err code)
{
    return err_class(code);
}

dmq_err
api_error(struct dmq_error *error, dmq_err code, const char *format, ...)
{
    if (error == NULL || error->size <= offsetof(struct dmq_error, message)) {
        return code;
    }
    size_t room = error->size - offsetof(struct dmq_error, message);
    room = room < sizeof(error->message) ? room : sizeof(error->message);
    error->code = code;
    error->cls = err_class(code);
    va_list args;
    va_start(args, format);
    vsnprintf(error->message, room, format, args);
    va_end(args);
    return code;
}

dmq_err
api_result(struct dmq_error *error, const struct err_msg *msg)
{
    if (msg->code == DMQ_OK) {
        return DMQ_OK;
    }
    return api_error(error, msg->code, "%s",
                     msg->text[0] != '\0' ? msg->text : err_text(msg->code));
}
