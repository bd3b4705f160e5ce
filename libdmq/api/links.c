/* Connections of the machine as ZeroMQ sockets: one DEALER and its monitor each, closed when the
 * monitor says that it ended (libdmq/net/peer_link.h).
 *
 * A host's name is looked up beforehand, by another thread (libdmq/net/resolve.h): libzmq would do
 * it on the thread that all connections share, and say nothing when it fails.
 *
 * They are closed without lingering: a request whose connection ended counts as maybe done, and
 * must not arrive after the retry that follows. Nothing here calls into the machine while its
 * effects are being carried out: what fails then is told in the next turn (tell_failed). */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include "libdmq/api/api.h"
#include "libdmq/api/probe.h"
#include "libdmq/base/assert.h"
#include "libdmq/net/address.h"
#include "libdmq/net/frames.h"
#include "libdmq/net/peer_link.h"
#include "libdmq/net/resolve.h"
#include "libdmq/os/clock.h"

#define MAX_FRAME_BYTES ((int64_t)1 << 30) /* of an answer */
#define MAX_RECEIVED 64                    /* messages of one connection in a row */
#define UNSENT_MS 1                        /* until a socket that took nothing is tried again */
#define LOOKUP_MS 5000 /* a name server that is silent for so long is given up */

/* A message that the socket did not take at once: only the first of a connection, while libzmq is
 * about to finish the handshake, for its queue is longer than what may be in flight. */
struct unsent {
    struct unsent *next;
    size_t count;
    struct buf *frames[];
};

/* What zmq_poll looks at, and whose it is. No socket: a descriptor, the wakeup's or a lookup's. */
struct poll_set {
    zmq_pollitem_t *items;
    uint32_t *conns;
    int count;
    size_t capacity;
};

struct link {
    struct resolve *resolve; /* of the host's name: before it is open */
    int64_t give_up_ms;      /* the lookup */
    size_t next_address;     /* of a name's addresses: another one after each failure */
    char address[ADDRESS_NUMERIC_SIZE];
    struct peer_link sockets;
    bool open;
    struct err_msg failure; /* it could not begin to connect: the machine is to be told */
    struct unsent *first_unsent;
    struct unsent *last_unsent;
    struct net_msg msg;
};

static struct link *
link_of(struct dmq_client *client, uint32_t conn)
{
    if (conn >= client->link_count) {
        uint32_t count = client->machine->conn_count;
        struct link **links = realloc(client->links, count * sizeof(struct link *));
        if (links == NULL) {
            return NULL;
        }
        client->links = links;
        while (client->link_count < count) {
            links[client->link_count++] = NULL;
        }
    }
    if (client->links[conn] == NULL) {
        client->links[conn] = calloc(1, sizeof(struct link));
    }
    return client->links[conn];
}

static void
drop_first_unsent(struct link *link)
{
    struct unsent *unsent = link->first_unsent;
    link->first_unsent = unsent->next;
    for (size_t i = 0; i < unsent->count; i++) {
        buf_unref(unsent->frames[i]);
    }
    free(unsent);
}

static void
close_link(struct link *link)
{
    resolve_end(link->resolve);
    link->resolve = NULL;
    link->failure.code = DMQ_OK;
    if (link->open) {
        peer_link_close(&link->sockets, true); /* nothing of it may arrive late */
        link->open = false;
    }
    while (link->first_unsent != NULL) {
        drop_first_unsent(link);
    }
    net_msg_clear(&link->msg);
}

static void
free_poll_set(struct poll_set *set)
{
    if (set != NULL) {
        free(set->items);
        free(set->conns);
        free(set);
    }
}

void
links_close(struct dmq_client *client)
{
    for (uint32_t i = 0; i < client->link_count; i++) {
        struct link *link = client->links[i];
        if (link != NULL) {
            close_link(link);
            net_msg_deinit(&link->msg);
            free(link);
        }
    }
    free(client->links);
    client->links = NULL;
    client->link_count = 0;
    free_poll_set(client->poll_set);
    client->poll_set = NULL;
}

/* Tells the machine that a connection ended. It may ask for another one at once. */
static void
tell_ended(struct dmq_client *client, uint32_t conn, const struct err_msg *reason)
{
    struct client_event event = {.type = CLIENT_DISCONNECTED, .conn = conn};
    event.u.reason = reason;
    client_log(client, 1, "%s", reason->text);
    loop_step(client, &event);
}

static void
fail_for_files(struct link *link, const struct conn *to)
{
    err_set(&link->failure, DMQ_ERR_IO, "%s:%d: no socket can be made: are too many files open?",
            to->host, (int)to->port);
}

static void
open_link(struct dmq_client *client, uint32_t conn, const struct addresses *addresses)
{
    char endpoint[ADDRESS_SIZE];
    struct link *link = client->links[conn];
    const struct conn *to = client->machine->conns[conn];
    DMQ_ASSERT(!link->open && link->resolve == NULL);
    snprintf(link->address, sizeof(link->address), "%s",
             addresses->numeric[link->next_address % addresses->count]);
    address_print(link->address, to->port, endpoint);
    link->open = peer_link_open(&link->sockets, client->zmq_context, endpoint, MAX_FRAME_BYTES);
    if (!link->open) {
        fail_for_files(link, to);
    }
}

/* A failure is not told here: a step is under way. */
void
link_connect(struct dmq_client *client, uint32_t conn)
{
    struct addresses addresses;
    const struct conn *to = client->machine->conns[conn];
    struct link *link = link_of(client, conn);
    if (link == NULL) {
        client->machine->broken = true;
        return;
    }
    DMQ_ASSERT(!link->open && link->resolve == NULL && link->failure.code == DMQ_OK);
    if (address_take(to->host, &addresses)) {
        open_link(client, conn, &addresses);
        return;
    }
    link->resolve = resolve_begin(to->host);
    link->give_up_ms = clock_ms() + LOOKUP_MS;
    if (link->resolve == NULL) {
        fail_for_files(link, to);
    }
}

static void
follow_resolve(struct dmq_client *client, uint32_t conn, int64_t now_ms)
{
    struct addresses addresses;
    const char *why = NULL;
    struct link *link = client->links[conn];
    bool answered = resolve_answered(link->resolve, &addresses, &why);
    if (!answered && now_ms < link->give_up_ms) {
        return;
    }
    resolve_end(link->resolve);
    link->resolve = NULL;
    if (answered && why == NULL) {
        open_link(client, conn, &addresses);
    } else {
        resolve_error(client->machine->conns[conn]->host, why, &link->failure);
    }
}

void
link_disconnect(struct dmq_client *client, uint32_t conn)
{
    const struct conn *to = client->machine->conns[conn];
    client_log(client, 1, "%s", to->last_error.text);
    close_link(client->links[conn]);
}

static void
keep_unsent(struct dmq_client *client, struct link *link, struct buf *const *frames, size_t count)
{
    struct unsent *unsent = malloc(sizeof(*unsent) + count * sizeof(struct buf *));
    if (unsent == NULL) {
        client->machine->broken = true; /* nobody would answer it */
        return;
    }
    unsent->next = NULL;
    unsent->count = count;
    for (size_t i = 0; i < count; i++) {
        unsent->frames[i] = buf_ref(frames[i]);
    }
    if (link->first_unsent == NULL) {
        link->first_unsent = unsent;
    } else {
        link->last_unsent->next = unsent;
    }
    link->last_unsent = unsent;
}

void
link_send(struct dmq_client *client, uint32_t conn, struct buf *const *frames, size_t count)
{
    struct link *link = client->links[conn];
    DMQ_ASSERT(link != NULL && link->open);
    if (link->first_unsent != NULL || net_send(link->sockets.dealer, frames, count) == NET_AGAIN) {
        keep_unsent(client, link, frames, count);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static void
report_end(struct dmq_client *client, uint32_t conn, const char *why)
{
    const struct conn *to = client->machine->conns[conn];
    struct err_msg reason;
    struct link *link = client->links[conn];
    /* libzmq does not say why a connection could not be made: a plain one tells. */
    if (to->state != CONN_CONNECTING || !probe(to->host, link->address, to->port, &reason)) {
        err_set(&reason, DMQ_ERR_NETWORK, "%s:%d: %s", to->host, (int)to->port, why);
    }
    link->next_address += to->state == CONN_CONNECTING;
    close_link(link);
    tell_ended(client, conn, &reason);
}

static void
look_at_monitor(struct dmq_client *client, uint32_t conn)
{
    const char *why;
    struct client_event event = {.type = CLIENT_CONNECTED, .conn = conn};
    const struct conn *to = client->machine->conns[conn];
    switch (peer_link_poll(&client->links[conn]->sockets, &why)) {
    case LINK_QUIET:
        break;
    case LINK_READY:
        client_log(client, 2, "connected to %s:%d", to->host, (int)to->port);
        loop_step(client, &event);
        break;
    case LINK_ENDED:
        report_end(client, conn, why);
        break;
    }
}

static void
receive(struct dmq_client *client, uint32_t conn)
{
    static const struct net_limits limits = {0};
    struct link *link = client->links[conn];
    for (int i = 0; i < MAX_RECEIVED && link->open; i++) {
        if (net_recv(link->sockets.dealer, &limits, &link->msg) != NET_OK) {
            return;
        }
        struct client_event event = {.type = CLIENT_RESPONSE, .conn = conn};
        event.u.response.frames = link->msg.frames;
        event.u.response.count = link->msg.fault == NULL ? link->msg.count : 0;
        loop_step(client, &event);
        net_msg_clear(&link->msg);
    }
}

static void
send_unsent(struct link *link)
{
    while (link->first_unsent != NULL) {
        struct unsent *unsent = link->first_unsent;
        if (net_send(link->sockets.dealer, unsent->frames, unsent->count) == NET_AGAIN) {
            return;
        }
        drop_first_unsent(link);
    }
}

/* Memory for a set that has room for every link; it stays. */
static bool
reserve_poll_set(struct poll_set *set, uint32_t link_count)
{
    size_t most = 1 + 2 * (size_t)link_count;
    if (most <= set->capacity) {
        return true;
    }
    zmq_pollitem_t *items = realloc(set->items, most * sizeof(*items));
    set->items = items != NULL ? items : set->items;
    uint32_t *conns = realloc(set->conns, most * sizeof(*conns));
    set->conns = conns != NULL ? conns : set->conns;
    set->capacity = items != NULL && conns != NULL ? most : set->capacity;
    return most <= set->capacity;
}

static void
add_to_poll_set(struct poll_set *set, void *socket, int fd, uint32_t conn)
{
    DMQ_ASSERT((size_t)set->count < set->capacity);
    set->conns[set->count] = conn;
    set->items[set->count++] = (zmq_pollitem_t){.socket = socket, .fd = fd, .events = ZMQ_POLLIN};
}

/* Two items for each open link, one for each lookup, behind that of the wakeup. NULL: memory is
 * out. */
static struct poll_set *
fill_poll_set(struct dmq_client *client)
{
    if (client->poll_set == NULL) {
        client->poll_set = calloc(1, sizeof(*client->poll_set));
    }
    struct poll_set *set = client->poll_set;
    if (set == NULL || !reserve_poll_set(set, client->link_count)) {
        return NULL;
    }
    set->items[0] = (zmq_pollitem_t){.fd = client->wakeup.fd, .events = ZMQ_POLLIN};
    set->count = 1;
    for (uint32_t i = 0; i < client->link_count; i++) {
        struct link *link = client->links[i];
        if (link != NULL && link->resolve != NULL) {
            add_to_poll_set(set, NULL, resolve_fd(link->resolve), i);
        } else if (link != NULL && link->open) {
            send_unsent(link);
            add_to_poll_set(set, link->sockets.dealer, -1, i);
            add_to_poll_set(set, link->sockets.monitor, -1, i);
        }
    }
    return set;
}

static bool
has_unsent(const struct dmq_client *client)
{
    for (uint32_t i = 0; i < client->link_count; i++) {
        if (client->links[i] != NULL && client->links[i]->first_unsent != NULL) {
            return true;
        }
    }
    return false;
}

/* True if there was one. */
static bool
tell_failed(struct dmq_client *client)
{
    bool found = false;
    for (uint32_t i = 0; i < client->link_count; i++) {
        struct link *link = client->links[i];
        if (link == NULL || link->failure.code == DMQ_OK) {
            continue;
        }
        struct err_msg reason = link->failure;
        link->failure.code = DMQ_OK;
        found = true;
        tell_ended(client, i, &reason);
    }
    return found;
}

/* Handling one may close or reopen another: each is looked at only while it is the same. */
static void
handle_input(struct dmq_client *client, const struct poll_set *set)
{
    for (int i = 1; i < set->count; i++) {
        const struct link *link = client->links[set->conns[i]];
        if ((set->items[i].revents & ZMQ_POLLIN) == 0 || !link->open) {
            continue;
        }
        if (link->sockets.dealer == set->items[i].socket) {
            receive(client, set->conns[i]);
        } else if (link->sockets.monitor == set->items[i].socket) {
            look_at_monitor(client, set->conns[i]);
        }
    }
}

/* Those that have an answer, and those that are late. */
static void
follow_resolves(struct dmq_client *client)
{
    int64_t now_ms = clock_ms();
    for (uint32_t i = 0; i < client->link_count; i++) {
        if (client->links[i] != NULL && client->links[i]->resolve != NULL) {
            follow_resolve(client, i, now_ms);
        }
    }
}

/* Until the first lookup is given up, or timeout_ms (negative: without end). */
static int64_t
wait_for_resolves(const struct dmq_client *client, int64_t timeout_ms)
{
    for (uint32_t i = 0; i < client->link_count; i++) {
        const struct link *link = client->links[i];
        if (link != NULL && link->resolve != NULL) {
            int64_t left = link->give_up_ms - clock_ms();
            left = left < 0 ? 0 : left;
            timeout_ms = timeout_ms < 0 || left < timeout_ms ? left : timeout_ms;
        }
    }
    return timeout_ms;
}

void
links_poll(struct dmq_client *client, int64_t timeout_ms)
{
    if (tell_failed(client)) {
        return;
    }
    struct poll_set *set = fill_poll_set(client);
    if (set == NULL) {
        client->machine->broken = true;
        return;
    }
    if (has_unsent(client) && (timeout_ms < 0 || timeout_ms > UNSENT_MS)) {
        timeout_ms = UNSENT_MS;
    }
    timeout_ms = wait_for_resolves(client, timeout_ms);
    zmq_poll(set->items, set->count, (long)timeout_ms);
    if ((set->items[0].revents & ZMQ_POLLIN) != 0) {
        wakeup_clear(&client->wakeup);
    }
    handle_input(client, set);
    follow_resolves(client);
}
