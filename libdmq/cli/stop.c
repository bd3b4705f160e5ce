#include "libdmq/cli/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

/* A signal handler has no other way to reach anything than through globals. */
static volatile sig_atomic_t is_requested;
static _Atomic(dmq_client *) client_of_process;
static int fds[2] = {-1, -1};

static void
on_signal(int number)
{
    (void)number;
    int saved = errno;
    is_requested = 1;
    if (fds[1] >= 0 && write(fds[1], "", 1) < 0) {
        /* The pipe is full: it is readable, and that is all that is wanted. */
        errno = saved;
    }
    dmq_client *client = atomic_load(&client_of_process);
    if (client != NULL) {
        dmq_client_interrupt(client);
    }
    errno = saved;
}

void
stop_install(dmq_client *client)
{
    atomic_store(&client_of_process, client);
    if (fds[0] >= 0) {
        return;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        fds[0] = fds[1] = -1;
    }
    /* SA_RESETHAND: the second Ctrl-C meets the default action. No SA_RESTART: it must
     * interrupt. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

void
stop_forget_client(void)
{
    atomic_store(&client_of_process, NULL);
}

bool
stop_requested(void)
{
    return is_requested != 0;
}

int
stop_fd(void)
{
    return fds[0];
}
