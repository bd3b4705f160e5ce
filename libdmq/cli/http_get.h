/* The little of HTTP that the tool needs: one GET of a short text. */
#ifndef DMQ_CLI_HTTP_GET_H
#define DMQ_CLI_HTTP_GET_H

enum { HTTP_TEXT_BYTES = 4096 };

/* Asks `address`, HOST:PORT, for `path`; at most some seconds. CLI_OK: *ret_status is what HTTP
 * says, ret_text the first line of the answer's body. Else the exit code, after printing why. */
int http_get(const char *address, const char *path, int *ret_status,
             char ret_text[HTTP_TEXT_BYTES]);

#endif
