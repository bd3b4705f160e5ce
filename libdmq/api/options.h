/* Options as pairs of strings, held against a table. */
#ifndef LIBDMQ_API_OPTIONS_H
#define LIBDMQ_API_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "dmq/dmq.h"
#include "libdmq/base/err.h"

enum option_type {
    OPTION_INT,    /* int64_t, from min to max */
    OPTION_BOOL,   /* int64_t 0 or 1, from true or false */
    OPTION_CHOICE, /* int64_t, one of the choices */
    OPTION_TEXT    /* const char *, borrowed from the caller; at most max bytes */
};

struct option_choice {
    const char *name; /* NULL ends the list */
    int64_t value;
};

struct option_spec {
    const char *name;
    enum option_type type;
    size_t offset; /* in the struct that is filled */
    int64_t min;
    int64_t max;
    int64_t fallback;                    /* what it is if it is not given */
    const char *text_fallback;           /* OPTION_TEXT */
    const struct option_choice *choices; /* OPTION_CHOICE */
};

struct option_table {
    const char *what; /* "producer", for sentences */
    const struct option_spec *specs;
    size_t count;
};

/* Fills the struct at ret_values with the defaults, then with what is given.
 * DMQ_ERR_INVALID_ARGUMENT with a sentence. */
dmq_err options_read(const struct option_table *table, const dmq_option *options, size_t count,
                     void *ret_values, dmq_error *error);

#endif
