/* Whether a port refuses connections, which libzmq does not tell from silence. */
#ifndef DMQ_NET_PROBE_H
#define DMQ_NET_PROBE_H

#include <stdint.h>

enum probe_result {
    PROBE_REFUSED,  /* the machine is there and nothing listens: the process has ended */
    PROBE_ACCEPTED, /* also by a process that is just ending: ask again a little later */
    PROBE_SILENT    /* no answer in time, or no way there: says nothing about the process */
};

/* Connects by plain TCP to a numeric address (anything else is silent) and closes again. Blocks for
 * at most timeout_ms: not for a core thread. */
enum probe_result probe_port(const char *address, int32_t port, int timeout_ms);

#endif
