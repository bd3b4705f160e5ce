/* One thread for each question to the name server, which ends with it: getaddrinfo() cannot be
 * called off, and may sit there for half a minute. So the threads are bounded, detached, and belong
 * to the process; those who ask wait at a host, not at a thread.
 *
 * A host whose question is old is asked for once more, a few times: it may have come into being
 * since (a container that was started), and what the old question still waits for is the answer of
 * somebody who did not know. Whichever answers first serves all. Second questions take no more than
 * half of the threads, so that silent names leave room for others.
 *
 * Invariant, under the lock: running is the sum of the hosts' running; a host in the list has
 * somebody waiting, or is queued, or running, or keeps an answer. */
#include "libdmq/net/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/list.h"

#define ASK_AGAIN_MS 2000 /* a question that old may be beside the point */
#define MAX_SAME_HOST 6   /* one of them is young, where each takes some ten seconds */
#define MAX_AGAIN (RESOLVE_MAX_THREADS / 2)
#define KEEP_MS 10000 /* an answer that came too late for who had asked */
#define STACK_SIZE (512 * 1024)

struct host {
    struct list hosts;
    char name[ADDRESS_HOST_SIZE];
    struct list waiting; /* of struct resolve */
    int running;         /* questions that are out */
    int64_t asked_ms;    /* the last of them */
    bool queued;         /* to be asked for when a thread is free */
    bool keeps;          /* addresses, for the next who asks */
    int64_t kept_ms;
    struct addresses addresses;
};

struct resolve {
    struct list waiting; /* in no list: answered */
    struct host *host;   /* while it waits */
    int fd;
    const char *why;
    struct addresses addresses;
};

static struct {
    pthread_mutex_t lock;
    struct list hosts;
    size_t host_count;
    int running;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .hosts = {&shared.hosts, &shared.hosts}};

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static int64_t
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- fork: a child has none of the threads --------------------------------------------------- */

static void
before_fork(void)
{
    pthread_mutex_lock(&shared.lock);
}

static void
after_fork(void)
{
    pthread_mutex_unlock(&shared.lock);
}

/* What was asked is never answered here; the hosts stay for those who wait at them. */
static void
after_fork_in_child(void)
{
    while (list_pop(&shared.hosts) != NULL) {
    }
    shared.host_count = 0;
    shared.running = 0;
    pthread_mutex_unlock(&shared.lock);
}

static void
watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- hosts (under the lock) ------------------------------------------------------------------ */

static void
free_if_idle(struct host *host)
{
    if (list_empty(&host->waiting) && host->running == 0 && !host->queued && !host->keeps) {
        list_remove(&host->hosts);
        shared.host_count--;
        free(host);
    }
}

static struct host *
find_host(const char *name)
{
    LIST_FOREACH (link, &shared.hosts) {
        struct host *host = LIST_ENTRY(link, struct host, hosts);
        if (strcmp(host->name, name) == 0) {
            return host;
        }
    }
    return NULL;
}

/* Answers that nobody came for. */
static void
drop_old(int64_t now_ms)
{
    for (struct list *link = shared.hosts.next, *next; link != &shared.hosts; link = next) {
        struct host *host = LIST_ENTRY(link, struct host, hosts);
        next = link->next;
        if (host->keeps && now_ms - host->kept_ms > KEEP_MS) {
            host->keeps = false;
            free_if_idle(host);
        }
    }
}

static struct host *
add_host(const char *name)
{
    struct host *host = shared.host_count < RESOLVE_MAX_HOSTS ? calloc(1, sizeof(*host)) : NULL;
    if (host != NULL) {
        snprintf(host->name, sizeof(host->name), "%s", name);
        list_init(&host->waiting);
        list_append(&shared.hosts, &host->hosts);
        shared.host_count++;
    }
    return host;
}

/* ---- answers (under the lock) ---------------------------------------------------------------- */

static void
answer(struct resolve *resolve, const struct addresses *addresses, const char *why)
{
    list_remove(&resolve->waiting);
    resolve->host = NULL;
    resolve->addresses = *addresses;
    resolve->why = why;
    eventfd_write(resolve->fd, 1); /* an empty one: cannot fail */
}

static void
take_answer(struct host *host, const struct addresses *addresses, const char *why)
{
    if (why != NULL && host->running > 0) {
        return; /* a younger question may know better */
    }
    if (list_empty(&host->waiting) && why == NULL) {
        host->keeps = true;
        host->kept_ms = now();
        host->addresses = *addresses;
    }
    for (struct list *link; (link = host->waiting.next) != &host->waiting;) {
        answer(LIST_ENTRY(link, struct resolve, waiting), addresses, why);
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

static void ask_queued(void);

static void *
thread_main(void *arg)
{
    struct host *host = arg;
    struct addresses addresses = {0};
    pthread_setname_np(pthread_self(), "dmq-resolve");
    const char *why = address_find(host->name, &addresses);
    pthread_mutex_lock(&shared.lock);
    DMQ_ASSERT(host->running > 0 && shared.running > 0);
    host->running--;
    shared.running--;
    take_answer(host, &addresses, why);
    free_if_idle(host);
    ask_queued();
    pthread_mutex_unlock(&shared.lock);
    return NULL;
}

/* No signal of the program is handled on a thread of ours. */
static bool
start_thread(struct host *host)
{
    sigset_t all, old;
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, &attributes, thread_main, host);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return rc == 0;
}

/* Under the lock. Where no thread can be made, the host stays queued: it is tried again with the
 * next lookup of any. */
static void
ask_queued(void)
{
    LIST_FOREACH (link, &shared.hosts) {
        struct host *host = LIST_ENTRY(link, struct host, hosts);
        if (shared.running == RESOLVE_MAX_THREADS) {
            return;
        }
        if (host->queued && start_thread(host)) {
            host->queued = false;
            host->asked_ms = now();
            host->running++;
            shared.running++;
        }
    }
}

static bool
is_worth_asking(const struct host *host, int64_t now_ms)
{
    return host->running == 0 || (now_ms - host->asked_ms >= ASK_AGAIN_MS &&
                                  host->running < MAX_SAME_HOST && shared.running < MAX_AGAIN);
}

/* Under the lock. False if there is no room. */
static bool
ask(struct resolve *resolve, const char *name)
{
    int64_t now_ms = now();
    drop_old(now_ms);
    struct host *host = find_host(name);
    if (host == NULL) {
        host = add_host(name);
    }
    if (host == NULL) {
        return false;
    }
    if (host->keeps) {
        host->keeps = false;
        answer(resolve, &host->addresses, NULL);
        free_if_idle(host);
        return true;
    }
    resolve->host = host;
    list_append(&host->waiting, &resolve->waiting);
    host->queued = host->queued || is_worth_asking(host, now_ms);
    ask_queued();
    return true;
}

/* ---- who asks -------------------------------------------------------------------------------- */

struct resolve *
resolve_begin(const char *host)
{
    struct resolve *resolve = calloc(1, sizeof(*resolve));
    if (resolve == NULL) {
        return NULL;
    }
    resolve->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&shared.lock);
    bool asked = resolve->fd >= 0 && ask(resolve, host);
    pthread_mutex_unlock(&shared.lock);
    if (!asked) {
        resolve_end(resolve);
        return NULL;
    }
    return resolve;
}

void
resolve_end(struct resolve *resolve)
{
    if (resolve == NULL) {
        return;
    }
    pthread_mutex_lock(&shared.lock);
    if (resolve->host != NULL) {
        list_remove(&resolve->waiting);
        free_if_idle(resolve->host);
    }
    pthread_mutex_unlock(&shared.lock);
    if (resolve->fd >= 0) {
        close(resolve->fd);
    }
    free(resolve);
}

int
resolve_fd(const struct resolve *resolve)
{
    return resolve->fd;
}

bool
resolve_answered(struct resolve *resolve, struct addresses *ret_addresses, const char **ret_why)
{
    pthread_mutex_lock(&shared.lock);
    bool answered = resolve->host == NULL;
    pthread_mutex_unlock(&shared.lock);
    if (answered) {
        *ret_addresses = resolve->addresses;
        *ret_why = resolve->why;
    }
    return answered;
}

dmq_err
resolve_error(const char *host, const char *why, struct err_msg *err)
{
    return err_set(err, DMQ_ERR_UNREACHABLE, "host '%.80s' cannot be looked up: %s", host,
                   why != NULL ? why : "the name server does not answer");
}
