#include "libdmq/api/options.h"

/* Each complaint names the option, what was given and what could have been. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/api/error.h"
#include "libdmq/base/assert.h"
#include "libdmq/base/nearest.h"

#define MAX_SPECS 32

static void *
place(const struct option_spec *spec, void *values)
{
    return (char *)values + spec->offset;
}

static void
put_number(const struct option_spec *spec, int64_t number, void *values)
{
    memcpy(place(spec, values), &number, sizeof(number));
}

static void
put_text(const struct option_spec *spec, const char *text, void *values)
{
    memcpy(place(spec, values), &text, sizeof(text));
}

static dmq_err
unknown_option(const struct option_table *table, const char *name, dmq_error *error)
{
    const char *names[MAX_SPECS];
    for (size_t i = 0; i < table->count; i++) {
        names[i] = table->specs[i].name;
    }
    const char *nearest = nearest_of(bytes_str(name), names, table->count);
    for (size_t i = 0; nearest == NULL && i < table->count; i++) { /* "compresion" is one, too */
        struct bytes first = bytes_of(names[i], strcspn(names[i], "."));
        nearest = nearest_distance(bytes_str(name), first) == 1 ? names[i] : NULL;
    }
    for (size_t i = 0; nearest == NULL && *name != '\0' && i < table->count; i++) {
        bool begins = strncmp(names[i], name, strlen(name)) == 0; /* "linger" for linger.ms */
        nearest = begins ? names[i] : NULL;
    }
    return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "a %s has no option '%s'%s%s%s", table->what,
                     name, nearest == NULL ? "" : " (did you mean '",
                     nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?)");
}

static dmq_err
read_number(const struct option_spec *spec, const char *text, void *values, dmq_error *error)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < spec->min || number > spec->max) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT,
                         "%s=%s: it should be a number from %lld to %lld", spec->name, text,
                         (long long)spec->min, (long long)spec->max);
    }
    put_number(spec, number, values);
    return DMQ_OK;
}

static dmq_err
read_bool(const struct option_spec *spec, const char *text, void *values, dmq_error *error)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "%s=%s: it should be true or false",
                         spec->name, text);
    }
    put_number(spec, yes, values);
    return DMQ_OK;
}

static dmq_err
read_choice(const struct option_spec *spec, const char *text, void *values, dmq_error *error)
{
    char all[128] = "";
    size_t used = 0;
    for (const struct option_choice *choice = spec->choices; choice->name != NULL; choice++) {
        if (strcmp(choice->name, text) == 0) {
            put_number(spec, choice->value, values);
            return DMQ_OK;
        }
        int size =
            snprintf(all + used, sizeof(all) - used, "%s%s", used == 0 ? "" : ", ", choice->name);
        used += (size_t)size;
        DMQ_ASSERT(size >= 0 && used < sizeof(all));
    }
    return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "%s=%s: it should be one of %s", spec->name,
                     text, all);
}

static dmq_err
read_text(const struct option_spec *spec, const char *text, void *values, dmq_error *error)
{
    if (strlen(text) > (size_t)spec->max) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "%s: it is longer than %lld bytes",
                         spec->name, (long long)spec->max);
    }
    put_text(spec, text, values);
    return DMQ_OK;
}

static dmq_err
read_one(const struct option_table *table, const dmq_option *option, void *values, dmq_error *error)
{
    if (option->name == NULL || option->value == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "an option of a %s has no %s",
                         table->what, option->name == NULL ? "name" : "value");
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct option_spec *spec = &table->specs[i];
        if (strcmp(spec->name, option->name) != 0) {
            continue;
        }
        switch (spec->type) {
        case OPTION_INT:
            return read_number(spec, option->value, values, error);
        case OPTION_BOOL:
            return read_bool(spec, option->value, values, error);
        case OPTION_CHOICE:
            return read_choice(spec, option->value, values, error);
        case OPTION_TEXT:
            return read_text(spec, option->value, values, error);
        }
    }
    return unknown_option(table, option->name, error);
}

dmq_err
options_read(const struct option_table *table, const dmq_option *options, size_t count,
             void *ret_values, dmq_error *error)
{
    DMQ_ASSERT(table->count <= MAX_SPECS);
    for (size_t i = 0; i < table->count; i++) {
        const struct option_spec *spec = &table->specs[i];
        if (spec->type == OPTION_TEXT) {
            put_text(spec, spec->text_fallback, ret_values);
        } else {
            put_number(spec, spec->fallback, ret_values);
        }
    }
    dmq_err err = DMQ_OK;
    for (size_t i = 0; err == DMQ_OK && i < count; i++) {
        err = read_one(table, &options[i], ret_values, error);
    }
    return err;
}
