#include <stdio.h>
#include <string.h>

#include "broker/log/log_tool.h"
#include "broker/node/node.h"
#include "libdmq/os/fs_posix.h"
#include "libdmq/os/log.h"

extern char **environ;

static void
print_line(void *arg, const char *text, size_t size)
{
    (void)arg;
    fwrite(text, 1, size, stdout);
    putchar('\n');
}

/* `--log-dump FILE [--json]`, `--log-verify DIR [--json]`: for `dmq log`, without a broker. True if
 * that is what the process is for. */
static bool
run_log_tool(int argc, char **argv, int *ret_exit_code)
{
    if (argc < 2 || strncmp(argv[1], "--log-", strlen("--log-")) != 0) {
        return false;
    }
    bool dump = strcmp(argv[1], "--log-dump") == 0;
    bool verify = strcmp(argv[1], "--log-verify") == 0;
    bool json = argc == 4 && strcmp(argv[3], "--json") == 0;
    struct log_sink sink = {print_line, NULL, json};
    *ret_exit_code = DAEMON_EXIT_USAGE;
    if ((!dump && !verify) || (argc != 3 && !json)) {
        fprintf(stderr,
                "dmq-broker: --log-dump FILE or --log-verify DIR, then --json or nothing\n");
    } else if (dump) {
        *ret_exit_code = log_tool_dump(fs_posix(), argv[2], &sink);
    } else {
        *ret_exit_code = log_tool_verify(fs_posix(), argv[2], &sink);
    }
    return true;
}

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
    if (run_log_tool(argc, argv, &exit_code)) {
        return exit_code;
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
