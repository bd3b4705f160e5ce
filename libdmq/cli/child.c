#include "libdmq/cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libdmq/cli/report.h"

enum {
    FIRST_DELAY_MS = 100,
    LAST_DELAY_MS = 5000,
    STEADY_MS = 10000 /* who ran that long starts again from the first delay */
};

/* In the new process, until exec: only async-signal-safe calls. */
static void
exec_child(const struct child *child, pid_t parent, int out)
{
    /* A group of its own: Ctrl-C is for the supervisor, which ends the daemons in order. SIGKILL
     * when the supervisor is gone: what was acknowledged is synced, and nothing is left behind. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) { /* it died before prctl */
        _exit(1);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(out, STDOUT_FILENO) >= 0) {
        execv(child->path, (char *const *)child->argv);
    }
    _exit(127);
}

bool
child_start(struct child *child, int64_t now_ns)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        report_failure("cannot start the %s: %s", child->name, strerrordesc_np(errno));
        return false;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        exec_child(child, parent, fds[1]);
    }
    close(fds[1]);
    if (pid < 0) {
        report_failure("cannot start the %s: %s", child->name, strerrordesc_np(errno));
        close(fds[0]);
        return false;
    }
    child->pid = pid;
    child->out = fds[0];
    child->is_ready = false;
    child->started_ns = now_ns;
    child->restart_ns = 0;
    child->line_size = 0;
    return true;
}

static void
end_line(struct child *child)
{
    if (child->line_size >= 5 && memcmp(child->line, "ready", 5) == 0) {
        child->is_ready = true;
        child->was_ready = true;
    }
    child->line_size = 0;
}

void
child_read(struct child *child)
{
    char data[512];
    ssize_t size = read(child->out, data, sizeof(data));
    if (size <= 0) {
        if (size == 0 || errno != EINTR) {
            close(child->out);
            child->out = -1;
        }
        return;
    }
    for (ssize_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            end_line(child);
        } else if (child->line_size < sizeof(child->line)) {
            child->line[child->line_size++] = data[i];
        }
    }
}

void
child_ended(struct child *child, int64_t now_ns)
{
    int64_t ran_ms = (now_ns - child->started_ns) / 1000000;
    if (child->delay_ms == 0 || ran_ms >= STEADY_MS) {
        child->delay_ms = FIRST_DELAY_MS;
    } else {
        child->delay_ms = child->delay_ms * 2 < LAST_DELAY_MS ? child->delay_ms * 2 : LAST_DELAY_MS;
    }
    child->pid = 0;
    child->is_ready = false;
    child->restart_ns = now_ns + child->delay_ms * 1000000;
    if (child->out >= 0) {
        close(child->out);
        child->out = -1;
    }
}

const char *
child_status_text(int status)
{
    static char text[64];
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof(text), "was killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(text, sizeof(text), "ended with %d", WEXITSTATUS(status));
    }
    return text;
}
