/* Each descriptor is duplicated before epoll gets it: libzmq closes its own at a time of its
 * choosing, and its number may by then belong to another connection of the same set. (epoll itself
 * forgets an open file only when its last descriptor is closed: it is told.)
 *
 * Ready places stand in a list, besides; an eventfd in the same epoll says that it is not empty.
 * Those that epoll names go there too, so that one that ends meanwhile leaves nothing behind. */
#include "libdmq/net/peer_set.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "libdmq/base/assert.h"

#define EVENTS_AT_ONCE 64

struct peer_set {
    int epoll_fd;
    int ready_fd;      /* eventfd; readable while signalled */
    bool signalled;    /* because ready is not empty */
    struct list ready; /* of struct peer_place */
};

struct peer_set *
peer_set_new(void)
{
    struct peer_set *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    struct epoll_event event = {.events = EPOLLIN}; /* without a place: the eventfd */
    list_init(&set->ready);
    set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    set->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (set->epoll_fd < 0 || set->ready_fd < 0 ||
        epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, set->ready_fd, &event) != 0) {
        peer_set_free(set);
        return NULL;
    }
    return set;
}

void
peer_set_free(struct peer_set *set)
{
    if (set == NULL) {
        return;
    }
    DMQ_ASSERT(list_empty(&set->ready));
    if (set->epoll_fd >= 0) {
        close(set->epoll_fd);
    }
    if (set->ready_fd >= 0) {
        close(set->ready_fd);
    }
    free(set);
}

int
peer_set_fd(const struct peer_set *set)
{
    return set->epoll_fd;
}

/* ---- places ---------------------------------------------------------------------------------- */

static void
close_fds(struct peer_set *set, struct peer_place *place)
{
    for (size_t i = 0; i < place->fd_count; i++) {
        epoll_ctl(set->epoll_fd, EPOLL_CTL_DEL, place->fds[i], NULL);
        close(place->fds[i]);
    }
    place->fd_count = 0;
}

static bool
add_fd(struct peer_set *set, struct peer_place *place, int theirs)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = place};
    int fd = fcntl(theirs, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    place->fds[place->fd_count++] = fd;
    return epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool
add_socket(struct peer_set *set, struct peer_place *place, void *socket)
{
    int theirs;
    size_t size = sizeof(theirs);
    return zmq_getsockopt(socket, ZMQ_FD, &theirs, &size) == 0 && add_fd(set, place, theirs);
}

static bool
add_fds(struct peer_set *set, struct peer_place *place, const struct peer *peer)
{
    void *sockets[PEER_MAX_SOCKETS];
    size_t count = peer_sockets(peer, sockets);
    for (size_t i = 0; i < count; i++) {
        if (!add_socket(set, place, sockets[i])) {
            return false;
        }
    }
    return peer_fd(peer) < 0 || add_fd(set, place, peer_fd(peer));
}

/* Asking for a socket's state is a use of it, and so takes the news away like any other. (What
 * peer_fd() says, no use takes away: epoll is enough.) */
static bool
has_input(const struct peer *peer)
{
    void *sockets[PEER_MAX_SOCKETS];
    size_t count = peer_sockets(peer, sockets);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        int events = 0;
        size_t size = sizeof(events);
        found |= zmq_getsockopt(sockets[i], ZMQ_EVENTS, &events, &size) == 0 &&
                 (events & ZMQ_POLLIN) != 0;
    }
    return found;
}

/* ---- who is ready ---------------------------------------------------------------------------- */

static void
make_ready(struct peer_set *set, struct peer_place *place)
{
    if (!list_linked(&place->ready)) {
        list_append(&set->ready, &place->ready);
    }
}

/* The eventfd says what the list says. A failed write or read leaves it as it is: it is looked at
 * again by the next call. */
static void
tell(struct peer_set *set)
{
    eventfd_t ignored;
    bool any = !list_empty(&set->ready);
    if (any && !set->signalled) {
        set->signalled = eventfd_write(set->ready_fd, 1) == 0;
    } else if (!any && set->signalled) {
        set->signalled = eventfd_read(set->ready_fd, &ignored) != 0;
    }
}

bool
peer_set_update(struct peer_set *set, struct peer_place *place, const struct peer *peer)
{
    bool whole = true;
    if (place->generation != peer_generation(peer)) {
        close_fds(set, place);
        whole = add_fds(set, place, peer);
        place->generation = peer_generation(peer);
    }
    if (has_input(peer)) {
        make_ready(set, place);
        tell(set);
    }
    return whole;
}

void
peer_set_leave(struct peer_set *set, struct peer_place *place)
{
    list_remove(&place->ready);
    close_fds(set, place);
    place->generation = 0;
}

void
peer_set_look(struct peer_set *set)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(set->epoll_fd, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) {
            make_ready(set, events[i].data.ptr);
        }
    }
}

/* What is left when the caller stops is told by the eventfd. */
struct peer_place *
peer_set_next(struct peer_set *set)
{
    struct list *link = list_pop(&set->ready);
    tell(set);
    return link != NULL ? LIST_ENTRY(link, struct peer_place, ready) : NULL;
}
