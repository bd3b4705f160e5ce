#include "libdmq/conf/daemon_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/nearest.h"

/* Options that take a value, where the environment may stand in for them. */
struct option {
    const char *name;
    const char *variable; /* NULL: none */
    const char *value;    /* NULL: not given */
};

enum { OPT_SERVICES, OPT_ID, OPT_DATA, OPT_CONFIG, OPT_COUNT };

struct options {
    struct option all[OPT_COUNT];
    bool help;
    bool version;
};

static const struct options no_options = {
    .all = {[OPT_SERVICES] = {"--services", "DMQ_SERVICES", NULL},
            [OPT_ID] = {"--id", "DMQ_NODE_ID", NULL},
            [OPT_DATA] = {"--data", "DMQ_DATA_DIR", NULL},
            [OPT_CONFIG] = {"--config", "DMQ_CONFIG", NULL}}};

static dmq_err
fail_option(const char *arg, struct err_msg *err)
{
    static const char *const known[] = {"--services", "--id",   "--data",   "--config",
                                        "--set",      "--help", "--version"};
    char name[40];
    for (size_t i = 0; i < 5; i++) { /* the first five take a value */
        if (strcmp(arg, known[i]) == 0) {
            return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "%s needs a value", arg);
        }
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(arg, "="), arg);
    const char *near = nearest_of(bytes_str(name), known, sizeof(known) / sizeof(known[0]));
    return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "unknown argument '%.60s': %s%s%s", arg,
                   near == NULL ? "--help lists them" : "did you mean ", near == NULL ? "" : near,
                   near == NULL ? "" : "?");
}

/* The value of an option that is args[*at], written --name VALUE or --name=VALUE; NULL if it is
 * another option. *at goes to the last argument taken. */
static const char *
take_value(const char *name, char *const *args, size_t *at)
{
    size_t size = strlen(name);
    const char *arg = args[*at];
    if (strncmp(arg, name, size) != 0) {
        return NULL;
    }
    if (arg[size] == '=') {
        return arg + size + 1;
    }
    if (arg[size] == 0 && args[*at + 1] != NULL) {
        return args[++*at];
    }
    return NULL;
}

static bool
take_option(struct options *options, char *const *args, size_t *at)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const char *value = take_value(options->all[i].name, args, at);
        if (value != NULL) {
            options->all[i].value = value;
            return true;
        }
    }
    return false;
}

/* First pass: everything but --set. */
static dmq_err
parse_options(char *const *args, struct options *options, struct err_msg *err)
{
    for (size_t i = 0; args[i] != NULL; i++) {
        options->help |= strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0;
        options->version |= strcmp(args[i], "--version") == 0;
        if (options->help || options->version) {
            return DMQ_OK;
        }
        if (!take_option(options, args, &i) && take_value("--set", args, &i) == NULL) {
            return fail_option(args[i], err);
        }
    }
    return DMQ_OK;
}

/* Second pass: --set comes last, for it wins over file and environment. */
static dmq_err
apply_sets(char *const *args, struct settings *settings, struct err_msg *err)
{
    struct options ignored = no_options;
    dmq_err code = DMQ_OK;
    for (size_t i = 0; code == DMQ_OK && args[i] != NULL; i++) {
        const char *value = take_option(&ignored, args, &i) ? NULL : take_value("--set", args, &i);
        if (value != NULL) {
            code = settings_set(settings, value, err);
        }
    }
    return code;
}

static const char *
variable_value(char *const *environment, const char *variable)
{
    size_t size = strlen(variable);
    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], variable, size) == 0 && environment[i][size] == '=') {
            return environment[i] + size + 1;
        }
    }
    return NULL;
}

static dmq_err
parse_id(const char *text, int32_t *ret_id, struct err_msg *err)
{
    char *end;
    errno = 0;
    long id = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || id < 0 || id > INT32_MAX) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "--id '%.40s': must be a number from services.json", text);
    }
    *ret_id = (int32_t)id;
    return DMQ_OK;
}

static dmq_err
find_node(struct daemon_conf *conf, const char *source, struct err_msg *err)
{
    bool found;
    if (conf->place == PLACE_CONTROLLER) {
        conf->controller = services_controller(&conf->services, conf->node_id);
        found = conf->controller != NULL;
    } else {
        conf->broker = services_broker(&conf->services, conf->node_id);
        found = conf->broker != NULL;
    }
    if (!found) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT,
                       "--id %d: no %s has this id in %.150s: add it there, or give another --id",
                       conf->node_id, conf->role, source[0] == '{' ? "DMQ_SERVICES" : source);
    }
    return DMQ_OK;
}

static dmq_err
load_settings(struct daemon_conf *conf, const char *config, char *const *args,
              char *const *environment, struct err_msg *err)
{
    dmq_err code = DMQ_OK;
    settings_init(&conf->settings);
    if (config != NULL) {
        code = settings_read_file(&conf->settings, config, err);
    }
    if (code == DMQ_OK) {
        code = settings_read_environment(&conf->settings, environment, err);
    }
    return code == DMQ_OK ? apply_sets(args, &conf->settings, err) : code;
}

static dmq_err
load(struct daemon_conf *conf, char *const *args, char *const *environment, struct err_msg *err)
{
    struct options options = no_options;
    dmq_err code = parse_options(args, &options, err);
    conf->help = options.help;
    conf->version = options.version;
    if (code != DMQ_OK || options.help || options.version) {
        return code;
    }
    for (size_t i = 0; i < OPT_COUNT; i++) {
        struct option *option = &options.all[i];
        if (option->value == NULL) {
            option->value = variable_value(environment, option->variable);
        }
    }
    const char *services = options.all[OPT_SERVICES].value;
    if (services == NULL || options.all[OPT_ID].value == NULL) {
        return err_set(err, DMQ_ERR_INVALID_ARGUMENT, "%s (or %s) is missing: --help says more",
                       services == NULL ? "--services FILE" : "--id N",
                       options.all[services == NULL ? OPT_SERVICES : OPT_ID].variable);
    }
    conf->data_dir = options.all[OPT_DATA].value;
    if (conf->data_dir == NULL) {
        conf->data_dir = DAEMON_DEFAULT_DATA;
    }
    code = parse_id(options.all[OPT_ID].value, &conf->node_id, err);
    if (code == DMQ_OK) {
        code = services_load(services, &conf->services, err);
    }
    if (code == DMQ_OK) {
        code = find_node(conf, services, err);
    }
    return code == DMQ_OK
               ? load_settings(conf, options.all[OPT_CONFIG].value, args, environment, err)
               : code;
}

dmq_err
daemon_conf_load(enum setting_place place, char *const *args, char *const *environment,
                 struct daemon_conf *ret_conf, struct err_msg *err)
{
    DMQ_ASSERT(place == PLACE_CONTROLLER || place == PLACE_BROKER);
    struct daemon_conf conf = {.place = place,
                               .role = place == PLACE_BROKER ? "broker" : "controller"};
    dmq_err code = load(&conf, args, environment, err);
    if (code != DMQ_OK) {
        daemon_conf_deinit(&conf);
        return code;
    }
    *ret_conf = conf;
    return DMQ_OK;
}

void
daemon_conf_deinit(struct daemon_conf *conf)
{
    services_deinit(&conf->services);
}

void
daemon_conf_print_help(enum setting_place place)
{
    const char *role = place == PLACE_BROKER ? "broker" : "controller";
    char variable[SETTING_VARIABLE_SIZE];
    char type[120];
    printf(
        "usage: dmq-%s --services FILE --id N [--data DIR] [--config FILE] [--set key=value]...\n"
        "\n"
        "  --services FILE   services.json: who is in the cluster     (or DMQ_SERVICES)\n"
        "  --id N            which %s of it this is          (or DMQ_NODE_ID)\n"
        "  --data DIR        data folder, default " DAEMON_DEFAULT_DATA
        "        (or DMQ_DATA_DIR)\n"
        "  --config FILE     settings, one `key = value` a line       (or DMQ_CONFIG)\n"
        "  --set key=value   one setting; wins over file and environment\n"
        "\n"
        "Settings: name = default, what a value must be, the variable of the environment that\n"
        "stands in for it (with _FILE behind it: a file that holds the value).\n",
        role, role);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting_desc *desc = setting_desc((enum setting)i);
        if ((desc->place & place) != 0) {
            printf("\n  %s = %s\n      %s\n      %s, %s\n", desc->name, desc->standard, desc->help,
                   setting_type(desc, type, sizeof(type)),
                   setting_variable((enum setting)i, variable));
        }
    }
    printf("\nExamples:\n"
           "  dmq-%s --services config/services.json --id %d --data /var/lib/dmq\n"
           "  DMQ_NODE_ID=%d dmq-%s --services config/services.json --set log.level=debug\n",
           role, place == PLACE_BROKER ? 101 : 1, place == PLACE_BROKER ? 101 : 1, role);
}

/* As many in a line as fit: they are looked for seldom, and all of them stand in --help. */
static void
say_defaults(const struct daemon_conf *conf, daemon_conf_say *say)
{
    char line[SETTING_LINE_SIZE];
    size_t used = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        enum setting setting = (enum setting)i;
        const char *name = setting_desc(setting)->name;
        const char *text = setting_text(&conf->settings, setting);
        if ((setting_desc(setting)->place & conf->place) == 0 ||
            conf->settings.values[i].source != SOURCE_DEFAULT) {
            continue;
        }
        if (used > 0 && used + strlen(name) + strlen(text) + 2 >= sizeof(line)) {
            say(line);
            used = 0;
        }
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s %s=%s",
                                 used == 0 ? "defaults" : "", name, text);
    }
    if (used > 0) {
        say(line);
    }
}

void
daemon_conf_each_setting(const struct daemon_conf *conf, daemon_conf_say *say)
{
    char line[SETTING_LINE_SIZE];
    char origin[SETTING_ORIGIN_SIZE];
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        enum setting setting = (enum setting)i;
        if ((setting_desc(setting)->place & conf->place) != 0 &&
            conf->settings.values[i].source != SOURCE_DEFAULT) {
            snprintf(line, sizeof(line), "setting %s=%s from=\"%s\"", setting_desc(setting)->name,
                     setting_text(&conf->settings, setting),
                     setting_origin(&conf->settings, setting, origin));
            say(line);
        }
    }
    say_defaults(conf, say);
}
