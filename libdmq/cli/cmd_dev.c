/* dmq dev: a cluster of one node on loopback: one controller and one broker, started at once, each
 * started again when it dies.
 *
 * One thread, one loop. Signals come from a signalfd, so none is lost and no handler runs. At the
 * end the broker goes first, because it wants to hand its leaderships to a controller. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdmq/cli/child.h"
#include "libdmq/cli/clock.h"
#include "libdmq/cli/command.h"
#include "libdmq/cli/dev_folder.h"
#include "libdmq/cli/json_out.h"
#include "libdmq/cli/program.h"
#include "libdmq/cli/report.h"

enum {
    BROKER = 0, /* ends first */
    CONTROLLER = 1,
    CHILDREN = 2,
    DEFAULT_PORT = 9501,
    END_MS = 10000 /* how long a daemon may take to end before it is killed */
};

struct dev {
    const struct cli *cli;
    struct dev_folder folder;
    struct child children[CHILDREN];
    char data[CHILDREN][PROGRAM_PATH_BYTES]; /* the daemons' folders */
    int signals;                             /* signalfd */
    int watched;                             /* stdin, with --until-eof; else -1 */
    bool is_announced;                       /* `ready` was printed */
    bool must_end;
    bool has_failed;
};

/* ---- events ---------------------------------------------------------------------------------- */

static void
announce(struct dev *dev)
{
    dev->is_announced = true;
    if (!dev->cli->json) {
        printf("ready dmq://127.0.0.1:%d\n", dev->folder.ports.client);
        fflush(stdout);
        return;
    }
    struct out out;
    struct json_out json;
    char url[64];
    snprintf(url, sizeof(url), "dmq://127.0.0.1:%d", dev->folder.ports.client);
    if (out_init(&out, STDOUT_FILENO)) {
        json_out_init(&json, &out);
        json_open(&json, NULL, '{');
        json_bool(&json, "ready", true);
        json_text(&json, "url", url);
        json_text(&json, "data", dev->folder.path);
        json_close(&json, '}');
        out_text(&out, "\n");
        out_flush(&out);
        out_deinit(&out);
    }
}

static void
on_output(struct dev *dev, struct child *child)
{
    bool was_ready = child->is_ready;
    child_read(child);
    if (child->is_ready && !was_ready && dev->is_announced) {
        report_note("the %s is back", child->name);
    }
    if (!dev->is_announced && dev->children[BROKER].is_ready &&
        dev->children[CONTROLLER].is_ready) {
        announce(dev);
    }
}

static void
on_child_ended(struct dev *dev, struct child *child, int status)
{
    bool was_ready = child->was_ready;
    child_ended(child, clock_ns());
    if (dev->must_end) {
        return;
    }
    if (!was_ready) { /* it will not be better the next time: its settings, its folder */
        report_failure("the %s %s before it was ready; its message stands above", child->name,
                       child_status_text(status));
        dev->has_failed = true;
        dev->must_end = true;
        return;
    }
    report_failure("the %s %s: it starts again in %" PRId64 " ms", child->name,
                   child_status_text(status), child->delay_ms);
}

static void
reap(struct dev *dev)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (int i = 0; i < CHILDREN; i++) {
            if (dev->children[i].pid == pid) {
                on_child_ended(dev, &dev->children[i], status);
            }
        }
    }
}

static void
on_signal(struct dev *dev)
{
    struct signalfd_siginfo info;
    while (read(dev->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            dev->must_end = true;
        }
    }
    reap(dev); /* several SIGCHLD may have become one */
}

static void
on_stdin(struct dev *dev)
{
    char data[512];
    if (read(dev->watched, data, sizeof(data)) == 0) {
        dev->must_end = true;
    }
}

/* ---- loop ------------------------------------------------------------------------------------ */

/* How long poll may wait: until the next start is due. */
static int
time_to_restart_ms(const struct dev *dev, int64_t now_ns)
{
    int64_t wait_ms = -1;
    for (int i = 0; i < CHILDREN; i++) {
        int64_t restart_ns = dev->children[i].restart_ns;
        if (restart_ns == 0) {
            continue;
        }
        int64_t ms = restart_ns > now_ns ? (restart_ns - now_ns) / 1000000 + 1 : 0;
        wait_ms = wait_ms < 0 || ms < wait_ms ? ms : wait_ms;
    }
    return (int)wait_ms;
}

static void
start_due(struct dev *dev)
{
    int64_t now = clock_ns();
    for (int i = 0; i < CHILDREN; i++) {
        struct child *child = &dev->children[i];
        if (child->restart_ns != 0 && child->restart_ns <= now && !child_start(child, now)) {
            dev->has_failed = true;
            dev->must_end = true;
            return;
        }
    }
}

/* Waits for one round of events, at most timeout_ms. */
static void
wait_for_events(struct dev *dev, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = dev->signals, .events = POLLIN},
                           {.fd = dev->children[BROKER].out, .events = POLLIN},
                           {.fd = dev->children[CONTROLLER].out, .events = POLLIN},
                           {.fd = dev->must_end ? -1 : dev->watched, .events = POLLIN}};
    if (poll(fds, 4, timeout_ms) <= 0) {
        return;
    }
    for (int i = 0; i < CHILDREN; i++) {
        if (fds[1 + i].revents != 0) {
            on_output(dev, &dev->children[i]);
        }
    }
    if (fds[3].revents != 0) {
        on_stdin(dev);
    }
    if (fds[0].revents != 0) {
        on_signal(dev);
    }
}

static void
supervise(struct dev *dev)
{
    int64_t now = clock_ns();
    for (int i = 0; i < CHILDREN; i++) {
        dev->children[i].restart_ns = now; /* both are due: neither waits for the other */
    }
    while (!dev->must_end) {
        start_due(dev);
        if (!dev->must_end) {
            wait_for_events(dev, time_to_restart_ms(dev, clock_ns()));
        }
    }
}

/* SIGTERM, then SIGKILL when it takes too long. */
static void
end_child(struct dev *dev, struct child *child)
{
    int64_t deadline_ns = clock_ns() + END_MS * INT64_C(1000000);
    child->restart_ns = 0;
    if (child->pid > 0) {
        kill(child->pid, SIGTERM);
    }
    while (child->pid > 0) {
        int64_t left_ms = (deadline_ns - clock_ns()) / 1000000;
        if (left_ms <= 0) {
            report_failure("the %s does not end: killed", child->name);
            dev->has_failed = true;
            kill(child->pid, SIGKILL);
            deadline_ns = INT64_MAX;
            continue;
        }
        wait_for_events(dev, left_ms < 1000 ? (int)left_ms : 1000);
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool
prepare_child(struct dev *dev, int index, const char *name, const char *program, const char *id)
{
    struct child *child = &dev->children[index];
    child->name = name;
    child->out = -1;
    if (!program_find(program, child->path)) {
        return false;
    }
    snprintf(dev->data[index], sizeof(dev->data[index]), "%s/%s", dev->folder.path, name);
    const char *argv[] = {child->path, "--services", dev->folder.services, "--id",
                          id,          "--data",     dev->data[index],     NULL};
    memcpy(child->argv, argv, sizeof(argv));
    return true;
}

static bool
take_signals(struct dev *dev)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    dev->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (dev->signals < 0) {
        report_failure("cannot take signals: %s", strerrordesc_np(errno));
    }
    return dev->signals >= 0;
}

static int
run_in_folder(struct dev *dev)
{
    if (!prepare_child(dev, BROKER, "broker", "dmq-broker", "101") ||
        !prepare_child(dev, CONTROLLER, "controller", "dmq-controller", "1") ||
        !take_signals(dev)) {
        return CLI_ERROR;
    }
    supervise(dev);
    for (int i = 0; i < CHILDREN; i++) {
        end_child(dev, &dev->children[i]);
    }
    close(dev->signals);
    return dev->has_failed ? CLI_ERROR : CLI_OK;
}

static int
run(const struct cli *cli)
{
    static struct dev dev; /* paths make it large */
    int64_t port = DEFAULT_PORT;
    int64_t http = -1;
    if (args_int(cli->args, "port", 0, 65535, &port) != CLI_OK ||
        args_int(cli->args, "http", 0, 65535, &http) != CLI_OK) {
        return CLI_USAGE;
    }
    struct dev_wish wish = {.client_port = (int)port,
                            .http_port = (int)http,
                            .listen_all = args_has(cli->args, "listen-all")};
    const char *data = args_value(cli->args, "data");
    dev.cli = cli;
    dev.watched = args_has(cli->args, "until-eof") ? STDIN_FILENO : -1;
    if (!dev_folder_open(&dev.folder, data != NULL ? data : "dmq-data", &wish)) {
        return CLI_ERROR;
    }
    int code = run_in_folder(&dev);
    dev_folder_close(&dev.folder);
    return code;
}

static const struct option_spec OPTIONS[] = {
    {"data", "DIR", "where everything is stored (./dmq-data)"},
    {"port", "N", "port for clients (9501; 0: any that is free)"},
    {"http", "N", "port for HTTP: /health/ready, /metrics (none; 0: any that is free)"},
    {"listen-all", NULL, "let other machines connect too; nobody is asked for a password"},
    {"until-eof", NULL, "end when stdin is closed, for a parent that may be killed"},
    {NULL, NULL, NULL},
};

const struct command COMMAND_DEV = {
    .name = "dev",
    .arguments = "",
    .summary = "Run a cluster of one node on this machine",
    .details = "Runs a controller and a broker on 127.0.0.1, prints 'ready dmq://127.0.0.1:9501'\n"
               "when they serve, starts one that dies again, and ends both on Ctrl-C or SIGTERM.\n"
               "Their logs go to stderr; the data stays in the folder.\n",
    .examples = "dmq dev\n"
                "dmq dev --data /var/tmp/try --port 0\n",
    .options = OPTIONS,
    .run = run,
};
