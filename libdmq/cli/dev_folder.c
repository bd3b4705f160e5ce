#include "libdmq/cli/dev_folder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libdmq/cli/json_read.h"
#include "libdmq/cli/report.h"

enum { SERVICES_BYTES_MAX = 4096 };

/* ---- ports ----------------------------------------------------------------------------------- */

struct dev_ports
dev_ports_parse(const char *json)
{
    struct json cursor = {0};
    struct json root = json_root(json);
    struct json controller = json_next(json_member(root, "controllers"), &cursor, NULL);
    cursor = (struct json){0};
    struct json broker = json_next(json_member(root, "brokers"), &cursor, NULL);
    return (struct dev_ports){
        .client = (int)json_to_int(json_member(broker, "port"), 0),
        .peer = (int)json_to_int(json_member(broker, "peerPort"), 0),
        .controller = (int)json_to_int(json_member(controller, "port"), 0),
        .http = (int)json_to_int(json_member(broker, "httpPort"), 0),
    };
}

/* Binds a socket to a port of loopback, 0: to any that is free. Keeping it open keeps the port from
 * being chosen twice. -1: the port is taken. */
static int
claim_port(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1; /* as libzmq binds: connections in TIME_WAIT do not keep a port */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* `wanted` above 0: this or none (printed). Else the port of the last run if it is free, or any.
 * Returns a socket that holds the port, or -1. */
static int
choose_port(int wanted, const char *option, int *port)
{
    if (wanted > 0) {
        int fd = claim_port(wanted);
        if (fd < 0) {
            report_failure("port %d is in use: end what uses it, or choose another by --%s N "
                           "(--%s 0: any that is free)",
                           wanted, option, option);
        }
        *port = wanted;
        return fd;
    }
    int fd = *port > 0 ? claim_port(*port) : -1;
    if (fd < 0) {
        fd = claim_port(0);
    }
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        report_failure("no free port on 127.0.0.1: %s", strerrordesc_np(errno));
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static bool
choose_ports(struct dev_ports *ports, const struct dev_wish *wish)
{
    int fds[4] = {-1, -1, -1, -1};
    fds[0] = choose_port(wish->client_port, "port", &ports->client);
    bool is_chosen = fds[0] >= 0;
    if (is_chosen && wish->http_port >= 0) {
        fds[1] = choose_port(wish->http_port, "http", &ports->http);
        is_chosen = fds[1] >= 0;
    } else {
        ports->http = 0;
    }
    if (is_chosen) {
        fds[2] = choose_port(0, NULL, &ports->peer);
        fds[3] = choose_port(0, NULL, &ports->controller);
        is_chosen = fds[2] >= 0 && fds[3] >= 0;
    }
    for (int i = 0; i < 4; i++) { /* held until all were chosen: no port twice */
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return is_chosen;
}

/* ---- services.json --------------------------------------------------------------------------- */

static void
read_services(const char *path, struct dev_ports *ports)
{
    char json[SERVICES_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, json, sizeof(json) - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    json[size > 0 ? size : 0] = '\0';
    *ports = dev_ports_parse(json);
}

static bool
write_services(const char *path, const struct dev_ports *ports, bool listen_all)
{
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        report_failure("cannot write %s: %s", path, strerrordesc_np(errno));
        return false;
    }
    char http[32] = "";
    if (ports->http > 0) {
        snprintf(http, sizeof(http), "\"httpPort\": %d, ", ports->http);
    }
    fprintf(file,
            "{ \"cluster\": \"dev\",\n"
            "  \"controllers\": [ {\"id\": %d, \"host\": \"127.0.0.1\", \"port\": %d} ],\n"
            "  \"brokers\": [ {\"id\": %d, \"host\": \"127.0.0.1\", %s\"port\": %d, "
            "\"peerPort\": %d, %s\"controller\": %d} ] }\n",
            DEV_CONTROLLER_ID, ports->controller, DEV_BROKER_ID,
            listen_all ? "\"listenHost\": \"0.0.0.0\", " : "", ports->client, ports->peer, http,
            DEV_CONTROLLER_ID);
    if (fclose(file) != 0) {
        report_failure("cannot write %s: %s", path, strerrordesc_np(errno));
        return false;
    }
    return true;
}

/* ---- folder ---------------------------------------------------------------------------------- */

/* mkdir -p. */
static bool
make_folders(const char *path)
{
    char *copy = strdup(path);
    bool is_made = copy != NULL;
    for (char *slash = copy; is_made && slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        is_made = mkdir(copy, 0777) == 0 || errno == EEXIST;
        if (slash != NULL) {
            *slash = '/';
        }
    }
    if (!is_made) {
        report_failure("cannot make the folder %s: %s", path, strerrordesc_np(errno));
    }
    free(copy);
    return is_made;
}

static char *
join(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) >= 0 ? path : NULL;
}

/* The daemons lock their own folders; this lock keeps two supervisors from writing one
 * services.json. It goes with the process. */
static bool
lock_folder(struct dev_folder *folder)
{
    char *path = join(folder->path, "dev.lock");
    folder->lock = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    bool is_locked = folder->lock >= 0 && flock(folder->lock, LOCK_EX | LOCK_NB) == 0;
    if (!is_locked && folder->lock >= 0 && errno == EWOULDBLOCK) {
        report_failure("%s is in use by another 'dmq dev': end it, or choose another folder by "
                       "--data DIR",
                       folder->path);
    } else if (!is_locked) {
        report_failure("cannot lock %s: %s", folder->path, strerrordesc_np(errno));
    }
    free(path);
    return is_locked;
}

bool
dev_folder_open(struct dev_folder *folder, const char *path, const struct dev_wish *wish)
{
    *folder = (struct dev_folder){.lock = -1};
    if (!make_folders(path)) {
        return false;
    }
    folder->path = realpath(path, NULL);
    folder->services = folder->path != NULL ? join(folder->path, "services.json") : NULL;
    if (folder->services == NULL) {
        report_failure("cannot use the folder %s: %s", path, strerrordesc_np(errno));
        goto failed;
    }
    if (!lock_folder(folder)) {
        goto failed;
    }
    read_services(folder->services, &folder->ports);
    if (choose_ports(&folder->ports, wish) &&
        write_services(folder->services, &folder->ports, wish->listen_all)) {
        return true;
    }
failed:
    dev_folder_close(folder);
    return false;
}

void
dev_folder_close(struct dev_folder *folder)
{
    if (folder->lock >= 0) {
        close(folder->lock);
    }
    free(folder->services);
    free(folder->path);
}
