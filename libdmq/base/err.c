#include "libdmq/base/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "libdmq/base/utf8.h"

static const struct {
    dmq_err code;
    int32_t cls;
    const char *name;
    const char *text;
} table[] = {
#define X(name, number, cls, text) {number, DMQ_CLASS_##cls, #name, text},
    DMQ_ERROR_MAP(X)
#undef X
};

/* The row of err; that of UNKNOWN if there is none. */
static size_t
row_of(dmq_err err)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].code == err) {
            return i;
        }
    }
    return 1;
}

const char *
err_name(dmq_err err)
{
    return table[row_of(err)].name;
}

const char *
err_text(dmq_err err)
{
    return table[row_of(err)].text;
}

int32_t
err_class(dmq_err err)
{
    return table[row_of(err)].cls;
}

dmq_err
err_set(struct err_msg *msg, dmq_err code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    msg->code = code;
    vsnprintf(msg->text, sizeof(msg->text), format, args);
    utf8_repair(msg->text); /* it goes out as str */
    va_end(args);
    return code;
}
