/* The settings of the daemons: one table (settings.def), and where each value in force comes from:
 *
 *   the default  <  a file of `key = value` lines  <  DMQ_... of the environment  <  --set
 *
 * An unknown key is an error that suggests the nearest. DMQ_X_FILE names a file that holds the
 * value of DMQ_X (secrets). An unknown DMQ_ variable is an error only where it is close to a known
 * one: the prefix is not ours alone. */
#ifndef DMQ_CONF_SETTINGS_H
#define DMQ_CONF_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libdmq/base/err.h"

enum setting {
#define INT(ID, name, standard, least, most, where, help) SETTING_##ID,
#define TEXT(ID, name, standard, choices, where, help) SETTING_##ID,
#include "libdmq/conf/settings.def"
    SETTING_COUNT
};

enum setting_place { PLACE_CONTROLLER = 1, PLACE_BROKER = 2, PLACE_BOTH = 3 };

enum setting_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_OPTION };

struct setting_desc {
    const char *name;
    bool is_text;
    int64_t least; /* numbers */
    int64_t most;
    const char *standard; /* the default as text */
    const char *choices;  /* texts: "a|b|c"; "": any */
    enum setting_place place;
    const char *help;
};

#define SETTING_MAX_TEXT 256

struct setting_value {
    int64_t number;
    char text[SETTING_MAX_TEXT]; /* of numbers too */
    enum setting_source source;
    int line; /* SOURCE_FILE; SOURCE_ENVIRONMENT: 1 if the variable names a file that holds it */
};

struct settings {
    struct setting_value values[SETTING_COUNT];
};

const struct setting_desc *setting_desc(enum setting setting);

/* What a value must be: "a whole number from 1 to 9", "one of debug|info". Returns text. */
const char *setting_type(const struct setting_desc *desc, char *text, size_t size);

/* All at their defaults. */
void settings_init(struct settings *settings);

/* Each returns DMQ_OK or DMQ_ERR_INVALID_CONFIG (err says where, what and what to do);
 * settings_read_file and settings_read_environment also DMQ_ERR_IO and DMQ_ERR_NOMEM. */
dmq_err settings_read_file(struct settings *settings, const char *path, struct err_msg *err);
dmq_err settings_read_environment(struct settings *settings, char *const *environment,
                                  struct err_msg *err);
dmq_err settings_set(struct settings *settings, const char *assignment, struct err_msg *err);

int64_t setting_number(const struct settings *settings, enum setting setting);
const char *setting_text(const struct settings *settings, enum setting setting);

/* Where the value in force comes from: "default", "file line 3", "environment DMQ_LOG_LEVEL",
 * "--set". */
#define SETTING_ORIGIN_SIZE 160
const char *setting_origin(const struct settings *settings, enum setting setting,
                           char text[SETTING_ORIGIN_SIZE]);

/* DMQ_LOG_LEVEL for log.level. */
#define SETTING_VARIABLE_SIZE 136
const char *setting_variable(enum setting setting, char text[SETTING_VARIABLE_SIZE]);

#endif
