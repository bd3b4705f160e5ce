/* What a daemon is told at its start: options, what the environment says in their place,
 * services.json and the settings. The same for both daemons. */
#ifndef DMQ_CONF_DAEMON_CONF_H
#define DMQ_CONF_DAEMON_CONF_H

#include "libdmq/conf/services.h"
#include "libdmq/conf/settings.h"

#define DAEMON_DEFAULT_DATA "/var/lib/dmq"

struct daemon_conf {
    enum setting_place place; /* PLACE_CONTROLLER or PLACE_BROKER */
    const char *role;         /* "controller" or "broker" */
    int32_t node_id;
    const char *data_dir; /* points into the arguments or the environment */
    struct services services;
    const struct service_controller *controller; /* this node, if it is a controller */
    const struct service_broker *broker;         /* this node, if it is a broker */
    struct settings settings;
    bool help; /* --help or --version was given: nothing else was read */
    bool version;
};

/* Reads everything, in the order of the sources. args are the arguments behind the program's name,
 * ended by NULL. Returns DMQ_OK or an error whose sentence is for
 * the user; all of them mean exit code 2 (DAEMON_EXIT_USAGE). */
dmq_err daemon_conf_load(enum setting_place place, char *const *args, char *const *environment,
                         struct daemon_conf *ret_conf, struct err_msg *err);
void daemon_conf_deinit(struct daemon_conf *conf);

/* Says a line for each setting of this daemon that is not at its default: what it is, and where
 * that comes from; then those that are. */
#define SETTING_LINE_SIZE (SETTING_MAX_TEXT + SETTING_ORIGIN_SIZE + 640)
typedef void daemon_conf_say(const char *line);
void daemon_conf_each_setting(const struct daemon_conf *conf, daemon_conf_say *say);

/* The text of --help, with every setting that the daemon uses; to stdout. */
void daemon_conf_print_help(enum setting_place place);

enum daemon_exit { DAEMON_EXIT_OK = 0, DAEMON_EXIT_ERROR = 1, DAEMON_EXIT_USAGE = 2 };

#endif
