#include "libdmq/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void
dmq_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "dmq: assertion failed: %s at %s:%d (a bug in DMQ, please report it)\n", expr,
            file, line);
    abort();
}
