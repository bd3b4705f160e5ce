/* One admin operation of a command: asked for, and its answer printed. */
#ifndef DMQ_CLI_ASK_H
#define DMQ_CLI_ASK_H

#include <stdbool.h>

#include "dmq/dmq.h"
#include "libdmq/cli/command.h"
#include "libdmq/cli/json_out.h"
#include "libdmq/cli/json_read.h"

/* Prints what the cluster answered, as JSON if that was asked for. `answer` is the whole of it. */
typedef void print_answer(const struct cli *cli, dmq_client *client, struct json answer);

/* Opens a session, asks the cluster and prints its answer. `request` is a terminated JSON text;
 * NULL:
 * {}. Returns the exit code. */
int ask_cluster(const struct cli *cli, const char *op, const char *request, print_answer *print);

/* The same within a session. */
int ask_client(const struct cli *cli, dmq_client *client, const char *op, const char *request,
               print_answer *print);

/* The JSON text of a value on a line of its own. */
void print_json(struct json value);

/* A request that is put together: json_* between begin and run. */
struct request {
    struct out out;
    struct json_out json;
};

/* False: out of memory, and it was said. */
bool request_begin(struct request *request);

/* A member of the open object from NAME=VALUE; where NAME= takes a setting away, as null for it.
 * False: the pair is neither. */
bool request_setting(struct request *request, const char *pair, bool may_take_away);

/* Closes the object; the text lives until request_deinit. */
const char *request_text(struct request *request);
void request_deinit(struct request *request);

#endif
