/* Opening and closing. fork(): a child has none of the threads of its parent, and its copies of the
 * sockets must not be touched, so every handle knows the process that it belongs to. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "libdmq/api/api.h"
#include "libdmq/api/options.h"
#include "libdmq/api/url.h"
#include "libdmq/base/assert.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/random.h"

static atomic_uint fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void
after_fork(void)
{
    atomic_fetch_add(&fork_generation, 1);
}

static void
watch_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork);
}

static bool
is_ours(const struct dmq_client *client)
{
    return client->fork_generation == atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

dmq_err
client_check(struct dmq_client *client, struct dmq_error *error)
{
    if (client == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "the handle is NULL");
    }
    if (!is_ours(client)) {
        return api_error(error, DMQ_ERR_FORKED, "%s", err_text(DMQ_ERR_FORKED));
    }
    return DMQ_OK;
}

void
client_log(struct dmq_client *client, int32_t level, const char *format, ...)
{
    char line[512];
    gate_lock(&client->gate);
    void (*log)(void *, int32_t, const char *) = client->log;
    void *arg = client->log_arg;
    bool wanted = log != NULL && level <= client->log_level;
    gate_unlock(&client->gate);
    if (!wanted) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    log(arg, level, line);
}

/* ---- opening --------------------------------------------------------------------------------- */

struct client_options {
    const char *client_id;
    int64_t log_level;
};

static const struct option_choice log_levels[] = {
    {"error", 0}, {"warn", 1}, {"info", 2}, {"debug", 3}, {NULL, 0}};

static const struct option_spec client_specs[] = {
    {.name = "client.id",
     .type = OPTION_TEXT,
     .offset = offsetof(struct client_options, client_id),
     .max = 255,
     .text_fallback = "dmq"},
    {.name = "log.level",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct client_options, log_level),
     .fallback = 2,
     .choices = log_levels},
};

static const struct option_table client_table = {"client", client_specs,
                                                 sizeof(client_specs) / sizeof(client_specs[0])};

static void
free_client(struct dmq_client *client)
{
    client_effects_deinit(&client->effects);
    client_free(client->machine);
    if (client->zmq_context != NULL) {
        zmq_ctx_term(client->zmq_context);
    }
    while (client->first_command != NULL) {
        struct command *command = client->first_command;
        client->first_command = command->next;
        command_free(command);
    }
    wakeup_deinit(&client->wakeup);
    readiness_deinit(&client->readiness);
    gate_deinit(&client->gate);
    pthread_mutex_destroy(&client->gates_lock);
    pthread_mutex_destroy(&client->interrupt_lock);
    free(client->url);
    free(client);
}

void
client_ref(struct dmq_client *client)
{
    atomic_fetch_add(&client->refs, 1);
}

void
client_unref(struct dmq_client *client)
{
    if (atomic_fetch_sub(&client->refs, 1) == 1) {
        free_client(client);
    }
}

/* Its own memory and the machine; no thread yet. */
static struct dmq_client *
new_client(const char *url, const struct client_options *options,
           const struct client_address *addresses, size_t address_count)
{
    struct dmq_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return NULL;
    }
    client->fork_generation = atomic_load(&fork_generation);
    atomic_init(&client->refs, 1);
    pthread_mutex_init(&client->gates_lock, NULL);
    pthread_mutex_init(&client->interrupt_lock, NULL);
    gate_init(&client->gate, client);
    readiness_init(&client->readiness);
    client->next_id = 1;
    client->log_level = (int32_t)options->log_level;
    client->url = strdup(url);
    client->zmq_context = zmq_ctx_new();
    client->machine = client_new(options->client_id, addresses, address_count, random_u64());
    int reason = wakeup_init(&client->wakeup);
    if (client->url == NULL || client->zmq_context == NULL || client->machine == NULL ||
        reason != 0) {
        free_client(client);
        return NULL;
    }
    return client;
}

/* All signals are blocked in the background thread and in those of libzmq, which it makes: they are
 * the application's. */
static bool
start_thread(struct dmq_client *client)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    client->has_thread = pthread_create(&client->thread, NULL, loop_run, client) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (client->has_thread) {
        pthread_setname_np(client->thread, "dmq-client");
    }
    return client->has_thread;
}

/* Waits until a broker has answered. A cluster that refuses everywhere, again and again, is not
 * waited for until the end of the time: "is it running?" should not take ten seconds to hear. */
static dmq_err
wait_ready(struct dmq_client *client, int64_t timeout_ms, dmq_error *error)
{
    int64_t deadline_ms = deadline_of(timeout_ms);
    dmq_err err = DMQ_OK;
    gate_lock(&client->gate);
    while (!client->ready && !client->refused && err == DMQ_OK && client->failure.code == DMQ_OK) {
        err = gate_wait(&client->gate, deadline_ms);
    }
    struct err_msg trouble = client->trouble;
    struct err_msg failure = client->failure;
    bool ready = client->ready;
    bool unreachable = client->unreachable;
    gate_unlock(&client->gate);
    if (ready) {
        return DMQ_OK;
    }
    if (err == DMQ_ERR_INTERRUPTED) {
        return api_error(error, err, "%s", err_text(err));
    }
    if (failure.code != DMQ_OK) {
        return api_result(error, &failure);
    }
    return api_error(error, unreachable ? DMQ_ERR_UNREACHABLE : DMQ_ERR_TIMEOUT,
                     "cannot reach any broker of %s: %s (is the cluster running? `dmq dev` starts "
                     "one)",
                     client->url, trouble.text);
}

/* $DMQ_URL, or this machine, if none is given. */
static const char *
url_or_default(const char *url)
{
    if (url == NULL || *url == '\0') {
        url = getenv("DMQ_URL");
    }
    return url == NULL || *url == '\0' ? URL_DEFAULT : url;
}

dmq_err
dmq_client_start(const char *url, const dmq_option *options, size_t option_count,
                 dmq_client **ret_client, dmq_error *error)
{
    struct client_options values;
    struct client_address addresses[URL_MAX_ADDRESSES];
    size_t address_count;
    struct err_msg msg;
    pthread_once(&fork_once, watch_forks);
    if (ret_client == NULL) {
        return api_error(error, DMQ_ERR_INVALID_ARGUMENT, "ret_client is NULL");
    }
    url = url_or_default(url);
    if (url_parse(url, addresses, &address_count, &msg) != DMQ_OK) {
        return api_result(error, &msg);
    }
    dmq_err err = options_read(&client_table, options, option_count, &values, error);
    if (err != DMQ_OK) {
        return err;
    }
    struct dmq_client *client = new_client(url, &values, addresses, address_count);
    if (client == NULL || !start_thread(client)) {
        dmq_client_close(client);
        return api_error(error, DMQ_ERR_NOMEM, "no memory, files or threads for a client");
    }
    *ret_client = client;
    return DMQ_OK;
}

dmq_err
dmq_client_wait(dmq_client *client, int64_t timeout_ms, dmq_error *error)
{
    dmq_err err = client_check(client, error);
    return err == DMQ_OK ? wait_ready(client, timeout_ms, error) : err;
}

dmq_err
dmq_client_open(const char *url, const dmq_option *options, size_t option_count, int64_t timeout_ms,
                dmq_client **ret_client, dmq_error *error)
{
    dmq_client *client;
    dmq_err err =
        dmq_client_start(url, options, option_count, ret_client == NULL ? NULL : &client, error);
    if (err != DMQ_OK) {
        return err;
    }
    err = wait_ready(client, timeout_ms, error);
    if (err != DMQ_OK) {
        dmq_client_close(client);
        return err;
    }
    *ret_client = client;
    return DMQ_OK;
}

/* ---- the life of it -------------------------------------------------------------------------- */

void
dmq_client_close(dmq_client *client)
{
    if (client == NULL || !is_ours(client)) {
        return;
    }
    gate_lock(&client->gate);
    client->stopping = true;
    gate_unlock(&client->gate);
    if (client->has_thread) {
        wakeup_signal(&client->wakeup);
        pthread_join(client->thread, NULL);
        client->has_thread = false;
    }
    client_unref(client);
}

void
client_end_handle(struct dmq_client *client, struct command *command, const bool *closed)
{
    command_post(client, command);
    gate_lock(&client->gate);
    while (!*closed && !client->exited) {
        gate_wait_quietly(&client->gate);
    }
    gate_unlock(&client->gate);
}

int
dmq_client_fd(dmq_client *client)
{
    if (client_check(client, NULL) != DMQ_OK) {
        return -1;
    }
    return readiness_fd(&client->readiness);
}

void
dmq_client_interrupt(dmq_client *client)
{
    int saved = errno; /* it may be called in a signal handler */
    if (client != NULL && is_ours(client)) {
        atomic_store(&client->interrupted, true);
        wakeup_signal(&client->wakeup);
    }
    errno = saved;
}

void
dmq_client_set_log(dmq_client *client, void (*log)(void *arg, int32_t level, const char *line),
                   void *arg)
{
    if (client_check(client, NULL) != DMQ_OK) {
        return;
    }
    gate_lock(&client->gate);
    client->log = log;
    client->log_arg = arg;
    gate_unlock(&client->gate);
}
