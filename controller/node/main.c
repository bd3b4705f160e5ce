#include <stdio.h>
#include <string.h>

#include "controller/node/node.h"
#include "libdmq/os/log.h"

extern char **environ;

/* What is not at its default, and where it comes from. */
static void
log_settings(const struct settings *settings)
{
    char origin[SETTING_ORIGIN_SIZE];
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        enum setting setting = (enum setting)i;
        if ((setting_desc(setting)->place & PLACE_CONTROLLER) != 0 &&
            settings->values[i].source != SOURCE_DEFAULT) {
            log_info("setting %s=%s from=\"%s\"", setting_desc(setting)->name,
                     setting_text(settings, setting), setting_origin(settings, setting, origin));
        }
    }
}

int
main(int argc, char **argv)
{
    struct daemon_conf conf;
    struct err_msg err;
    (void)argc;
    if (daemon_conf_load(PLACE_CONTROLLER, argv + 1, environ, &conf, &err) != DMQ_OK) {
        fprintf(stderr, "dmq-controller: %s\n", err.text);
        return DAEMON_EXIT_USAGE;
    }
    int exit_code = DAEMON_EXIT_OK;
    if (conf.help) {
        daemon_conf_print_help(PLACE_CONTROLLER);
    } else if (conf.version) {
        printf("dmq-controller %s\n", DMQ_VERSION);
    } else {
        enum log_level level = LOG_LEVEL_INFO;
        log_level_parse(setting_text(&conf.settings, SETTING_LOG_LEVEL), &level);
        log_init(level, "controller", conf.node_id);
        log_settings(&conf.settings);
        exit_code = node_run(&conf);
    }
    daemon_conf_deinit(&conf);
    return exit_code;
}
