#include "libdmq/cli/ask.h"

#include <stdio.h>
#include <string.h>

#include "libdmq/cli/report.h"
#include "libdmq/cli/session.h"

enum { SETTING_NAME_BYTES = 256 };

/* Names and settings are text; only files, keys and values may hold any bytes. */
static bool
is_text(const struct cli *cli, const char *request)
{
    if (request == NULL || json_is_utf8(request, strlen(request))) {
        return true;
    }
    report_usage(cli->args->command, "names and settings must be UTF-8");
    return false;
}

int
ask_client(const struct cli *cli, dmq_client *client, const char *op, const char *request,
           print_answer *print)
{
    int code = CLI_OK;
    char *answer = NULL;
    dmq_error error = session_error();
    if (!is_text(cli, request)) {
        return CLI_USAGE;
    }
    if (dmq_admin(client, op, request, ADMIN_TIMEOUT_MS, &answer, &error) != DMQ_OK) {
        code = report_error(NULL, &error);
    } else {
        print(cli, client, json_root(answer));
    }
    dmq_free(answer);
    return code;
}

int
ask_cluster(const struct cli *cli, const char *op, const char *request, print_answer *print)
{
    dmq_client *client;
    if (!is_text(cli, request)) {
        return CLI_USAGE; /* seen without a server */
    }
    int code = session_open(cli, &client);
    if (code == CLI_OK) {
        code = ask_client(cli, client, op, request, print);
        session_close(client);
    }
    return code;
}

void
print_json(struct json value)
{
    printf("%.*s\n", (int)(value.end - value.at), value.at);
}

bool
request_begin(struct request *request)
{
    if (!out_init(&request->out, -1)) {
        report_failure("out of memory");
        return false;
    }
    json_out_init(&request->json, &request->out);
    json_open(&request->json, NULL, '{');
    return true;
}

bool
request_setting(struct request *request, const char *pair, bool may_take_away)
{
    char name[SETTING_NAME_BYTES];
    size_t size = strcspn(pair, "=");
    if (pair[size] != '=' || size == 0 || size >= sizeof(name)) {
        return false;
    }
    memcpy(name, pair, size);
    name[size] = '\0';
    if (may_take_away && pair[size + 1] == '\0') {
        json_null(&request->json, name);
    } else {
        json_text(&request->json, name, pair + size + 1);
    }
    return true;
}

const char *
request_text(struct request *request)
{
    json_close(&request->json, '}');
    out_put(&request->out, "", 1);
    return request->out.data;
}

void
request_deinit(struct request *request)
{
    out_deinit(&request->out);
}
