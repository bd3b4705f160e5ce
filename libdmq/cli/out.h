/* Output through one buffer of our own: records come by the million, and stdio locks for each. */
#ifndef DMQ_CLI_OUT_H
#define DMQ_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct out {
    int fd;    /* -1: into memory only, which the tests read */
    int error; /* errno of the first write that failed; later output is dropped */
    char *data;
    size_t size;
    size_t capacity;
};

/* False: out of memory. */
bool out_init(struct out *out, int fd);
void out_deinit(struct out *out); /* does not flush */

void out_put(struct out *out, const void *data, size_t size);
void out_text(struct out *out, const char *text);
void out_int(struct out *out, int64_t value);
__attribute__((format(printf, 2, 3))) void out_format(struct out *out, const char *format, ...);

/* Writes what is buffered. False, now and ever after, if a write failed. */
bool out_flush(struct out *out);

#endif
