/* The data folder of `dmq dev`: the lock, the ports, services.json. */
#ifndef DMQ_CLI_DEV_FOLDER_H
#define DMQ_CLI_DEV_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

enum { DEV_CONTROLLER_ID = 1, DEV_BROKER_ID = 101 };

/* All on loopback. 0: none yet. */
struct dev_ports {
    int client;     /* the broker's, which clients dial */
    int peer;       /* the broker's for nodes */
    int controller; /* the controller's */
    int http;       /* the broker's for HTTP; 0: none is served */
};

struct dev_folder {
    char *path;     /* absolute: the daemons may run elsewhere */
    char *services; /* path of services.json in it */
    int lock;
    struct dev_ports ports;
};

/* What the user asked for; 0: any that is free. */
struct dev_wish {
    int client_port;
    int http_port;   /* -1: no HTTP */
    bool listen_all; /* the broker binds to every address, not to loopback alone */
};

/* Makes the folder if it is not there, locks it, chooses ports and writes services.json. A port of
 * the last run is taken again if it is free, so that addresses survive a restart. False: it could
 * not be done (printed); there is nothing to close then. */
bool dev_folder_open(struct dev_folder *folder, const char *path, const struct dev_wish *wish);
void dev_folder_close(struct dev_folder *folder);

/* Reads the ports out of a services.json that dev_folder_open wrote; 0 for what it does not hold.
 * Pure. */
struct dev_ports dev_ports_parse(const char *json);

#endif
