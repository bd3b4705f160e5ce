#include "libdmq/conf/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/nearest.h"
#include "libdmq/conf/text_file.h"

#define VARIABLE_PREFIX "DMQ_"
#define FILE_SUFFIX "_FILE"

static const struct setting_desc table[SETTING_COUNT] = {
#define INT(ID, name, standard, least, most, where, help)                                          \
    {name, false, least, most, #standard, "", PLACE_##where, help},
#define TEXT(ID, name, standard, choices, where, help)                                             \
    {name, true, 0, 0, standard, choices, PLACE_##where, help},
#include "libdmq/conf/settings.def"
};

const struct setting_desc *
setting_desc(enum setting setting)
{
    DMQ_ASSERT(setting >= 0 && setting < SETTING_COUNT);
    return &table[setting];
}

/* ---- one value ------------------------------------------------------------------------------- */

static bool
is_choice(const char *choices, const char *value)
{
    size_t size = strlen(value);
    for (const char *at = choices; *at != 0;) {
        size_t one = strcspn(at, "|");
        if (one == size && memcmp(at, value, size) == 0) {
            return true;
        }
        at += one + (at[one] == '|');
    }
    return choices[0] == 0;
}

/* False where the value does not fit the setting. */
static bool
store(const struct setting_desc *desc, const char *value, struct setting_value *ret_value)
{
    int64_t number = 0;
    if (strlen(value) >= SETTING_MAX_TEXT) {
        return false;
    }
    if (desc->is_text) {
        if (!is_choice(desc->choices, value)) {
            return false;
        }
    } else {
        char *end;
        errno = 0;
        number = strtoll(value, &end, 10);
        if (errno != 0 || end == value || *end != 0 || isspace((unsigned char)value[0]) ||
            number < desc->least || number > desc->most) {
            return false;
        }
    }
    ret_value->number = number;
    memcpy(ret_value->text, value, strlen(value) + 1);
    return true;
}

const char *
setting_type(const struct setting_desc *desc, char *text, size_t size)
{
    if (!desc->is_text) {
        snprintf(text, size, "a whole number from %lld to %lld", (long long)desc->least,
                 (long long)desc->most);
    } else if (desc->choices[0] != 0) {
        snprintf(text, size, "one of %s", desc->choices);
    } else {
        snprintf(text, size, "at most %d bytes", SETTING_MAX_TEXT - 1);
    }
    return text;
}

/* Where an assignment stands. */
struct origin {
    enum setting_source source;
    int line;         /* of a file */
    const char *name; /* of the file, or of the variable; for errors */
};

static const char *
print_origin(const struct origin *from, char *text, size_t size)
{
    if (from->source == SOURCE_FILE) {
        snprintf(text, size, "%.80s:%d", from->name, from->line);
    } else {
        snprintf(text, size, "%.80s", from->name);
    }
    return text;
}

static dmq_err
assign(struct settings *settings, enum setting setting, const char *value,
       const struct origin *from, struct err_msg *err)
{
    char where[100], wanted[120];
    const struct setting_desc *desc = &table[setting];
    struct setting_value *to = &settings->values[setting];
    if (from->source == SOURCE_FILE && to->source == SOURCE_FILE) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG,
                       "%s: %s was set in line %d already: remove one of them",
                       print_origin(from, where, sizeof(where)), desc->name, to->line);
    }
    if (!store(desc, value, to)) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s: %s = '%.40s': must be %s",
                       print_origin(from, where, sizeof(where)), desc->name, value,
                       setting_type(desc, wanted, sizeof(wanted)));
    }
    to->source = from->source;
    to->line = from->line;
    return DMQ_OK;
}

void
settings_init(struct settings *settings)
{
    memset(settings, 0, sizeof(*settings));
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        bool fits = store(&table[i], table[i].standard, &settings->values[i]);
        DMQ_ASSERT(fits);
    }
}

/* ---- key = value ----------------------------------------------------------------------------- */

static char *
trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) {
        size--;
    }
    text[size] = 0;
    return text;
}

static bool
find(const char *name, enum setting *ret_setting)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *ret_setting = (enum setting)i;
            return true;
        }
    }
    return false;
}

static dmq_err
fail_unknown(const char *key, const struct origin *from, struct err_msg *err)
{
    const char *names[SETTING_COUNT];
    char where[100];
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        names[i] = table[i].name;
    }
    const char *near = nearest_of(bytes_str(key), names, SETTING_COUNT);
    print_origin(from, where, sizeof(where));
    if (near == NULL) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s: unknown setting '%.80s': remove it", where,
                       key);
    }
    return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s: unknown setting '%.60s': did you mean '%s'?",
                   where, key, near);
}

/* "key = value", which it changes. */
static dmq_err
assign_line(struct settings *settings, char *line, const struct origin *from, struct err_msg *err)
{
    char where[100];
    enum setting setting;
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "%s: '%.60s' must be key=value",
                       print_origin(from, where, sizeof(where)), line);
    }
    *equals = 0;
    char *key = trim(line);
    if (!find(key, &setting)) {
        return fail_unknown(key, from, err);
    }
    return assign(settings, setting, trim(equals + 1), from, err);
}

dmq_err
settings_read_file(struct settings *settings, const char *path, struct err_msg *err)
{
    char *text;
    struct origin from = {SOURCE_FILE, 0, path};
    dmq_err code = text_file_read(path, "settings file", &text, err);
    if (code != DMQ_OK) {
        return code;
    }
    for (char *at = text, *next; code == DMQ_OK && at != NULL; at = next) {
        next = strchr(at, '\n');
        if (next != NULL) {
            *next++ = 0;
        }
        from.line++;
        char *line = trim(at);
        if (line[0] != 0 && line[0] != '#') {
            code = assign_line(settings, line, &from, err);
        }
    }
    free(text);
    return code;
}

dmq_err
settings_set(struct settings *settings, const char *assignment, struct err_msg *err)
{
    char line[SETTING_MAX_TEXT + 128];
    struct origin from = {SOURCE_OPTION, 0, "--set"};
    if (strlen(assignment) >= sizeof(line)) {
        return err_set(err, DMQ_ERR_INVALID_CONFIG, "--set: '%.60s...' is too long", assignment);
    }
    memcpy(line, assignment, strlen(assignment) + 1);
    return assign_line(settings, line, &from, err);
}

/* ---- the environment ------------------------------------------------------------------------- */

const char *
setting_variable(enum setting setting, char text[SETTING_VARIABLE_SIZE])
{
    const char *name = setting_desc(setting)->name;
    int size = snprintf(text, SETTING_VARIABLE_SIZE, VARIABLE_PREFIX "%s", name);
    DMQ_ASSERT(size < SETTING_VARIABLE_SIZE);
    for (char *c = text; *c != 0; c++) {
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    }
    return text;
}

static dmq_err
assign_from_file(struct settings *settings, enum setting setting, const char *path,
                 const struct origin *from, struct err_msg *err)
{
    char *text;
    dmq_err code = text_file_read(path, from->name, &text, err);
    if (code == DMQ_OK) {
        code = assign(settings, setting, trim(text), from, err);
        settings->values[setting].line = 1;
        free(text);
    }
    return code;
}

/* A variable that is almost one of ours is a typing error; others may be anybody's. */
static dmq_err
check_unknown_variable(const char *variable, struct err_msg *err)
{
    static const char *const others[] = {"DMQ_SERVICES", "DMQ_NODE_ID", "DMQ_DATA_DIR",
                                         "DMQ_CONFIG",   "DMQ_URL",     "DMQ_PREFIX"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(variable, others[i]) == 0) {
            return DMQ_OK;
        }
    }
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char known[SETTING_VARIABLE_SIZE];
        setting_variable((enum setting)i, known);
        if (nearest_distance(bytes_str(variable), bytes_str(known)) <= strlen(known) / 8 + 1) {
            return err_set(err, DMQ_ERR_INVALID_CONFIG,
                           "environment: unknown variable %s: did you mean %s?", variable, known);
        }
    }
    return DMQ_OK;
}

static dmq_err
read_variable(struct settings *settings, const char *variable, const char *value,
              struct err_msg *err)
{
    struct origin from = {SOURCE_ENVIRONMENT, 0, variable};
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char known[SETTING_VARIABLE_SIZE];
        size_t size = strlen(setting_variable((enum setting)i, known));
        if (strcmp(variable, known) == 0) {
            return assign(settings, (enum setting)i, value, &from, err);
        }
        if (strncmp(variable, known, size) == 0 && strcmp(variable + size, FILE_SUFFIX) == 0) {
            return assign_from_file(settings, (enum setting)i, value, &from, err);
        }
    }
    return check_unknown_variable(variable, err);
}

dmq_err
settings_read_environment(struct settings *settings, char *const *environment, struct err_msg *err)
{
    char variable[SETTING_VARIABLE_SIZE];
    dmq_err code = DMQ_OK;
    for (size_t i = 0; code == DMQ_OK && environment[i] != NULL; i++) {
        size_t size = strcspn(environment[i], "=");
        bool ours = strncmp(environment[i], VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) == 0;
        if (ours && size < sizeof(variable) && environment[i][size] == '=') {
            memcpy(variable, environment[i], size);
            variable[size] = 0;
            code = read_variable(settings, variable, environment[i] + size + 1, err);
        }
    }
    return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

int64_t
setting_number(const struct settings *settings, enum setting setting)
{
    DMQ_ASSERT(!setting_desc(setting)->is_text);
    return settings->values[setting].number;
}

const char *
setting_text(const struct settings *settings, enum setting setting)
{
    setting_desc(setting);
    return settings->values[setting].text;
}

const char *
setting_origin(const struct settings *settings, enum setting setting,
               char text[SETTING_ORIGIN_SIZE])
{
    char variable[SETTING_VARIABLE_SIZE];
    switch (settings->values[setting].source) {
    case SOURCE_DEFAULT:
        snprintf(text, SETTING_ORIGIN_SIZE, "default");
        break;
    case SOURCE_FILE:
        snprintf(text, SETTING_ORIGIN_SIZE, "file line %d", settings->values[setting].line);
        break;
    case SOURCE_ENVIRONMENT:
        snprintf(text, SETTING_ORIGIN_SIZE, "environment %s%s", setting_variable(setting, variable),
                 settings->values[setting].line > 0 ? FILE_SUFFIX : "");
        break;
    case SOURCE_OPTION:
        snprintf(text, SETTING_ORIGIN_SIZE, "--set");
        break;
    }
    return text;
}
