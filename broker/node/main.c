#include <stdio.h>

#include "broker/node/log_command.h"
#include "broker/node/node.h"
#include "libdmq/os/log.h"

extern char **environ;

static void
log_line(const char *line)
{
    log_info("%s", line);
}

int
main(int argc, char **argv)
{
    struct daemon_conf conf;
    struct err_msg err;
    int exit_code = DAEMON_EXIT_OK;
    if (log_command_asked(argc, argv)) {
        return log_command_run(argc, argv);
    }
    if (daemon_conf_load(PLACE_BROKER, argv + 1, environ, &conf, &err) != DMQ_OK) {
        fprintf(stderr, "dmq-broker: %s\n", err.text);
        return DAEMON_EXIT_USAGE;
    }
    if (conf.help) {
        daemon_conf_print_help(PLACE_BROKER);
    } else if (conf.version) {
        printf("dmq-broker %s\n", DMQ_VERSION);
    } else {
        enum log_level level = LOG_LEVEL_INFO;
        enum log_format format = LOG_FORMAT_TEXT;
        log_level_parse(setting_text(&conf.settings, SETTING_LOG_LEVEL), &level);
        log_format_parse(setting_text(&conf.settings, SETTING_LOG_FORMAT), &format);
        log_init(level, format, "broker", conf.node_id);
        daemon_conf_each_setting(&conf, log_line);
        exit_code = node_run(&conf);
    }
    daemon_conf_deinit(&conf);
    return exit_code;
}
