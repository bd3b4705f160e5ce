#include "libdmq/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "libdmq/cli/clock.h"
#include "libdmq/cli/report.h"

enum { DRAW_INTERVAL_MS = 200 };

/* There is one terminal, so there is one progress line. */
static struct {
    const char *verb;
    bool is_shown; /* at all */
    bool is_drawn; /* right now, so that it must be cleared */
    int64_t start_ns;
    int64_t next_ns;
} line;

void
progress_start(const char *verb, bool is_allowed)
{
    line.verb = verb;
    line.is_shown = is_allowed && !report_is_quiet() && isatty(STDERR_FILENO);
    line.start_ns = clock_ns();
    line.next_ns = line.start_ns + DRAW_INTERVAL_MS * INT64_C(1000000);
}

void
progress_update(uint64_t records, uint64_t bytes)
{
    if (!line.is_shown) {
        return;
    }
    int64_t now = clock_ns();
    if (now < line.next_ns) {
        return;
    }
    line.next_ns = now + DRAW_INTERVAL_MS * INT64_C(1000000);
    double seconds = (double)(now - line.start_ns) / 1e9;
    fprintf(stderr, "\r\033[K%s %" PRIu64 " records, %.1f MB, %.0f records/s", line.verb, records,
            (double)bytes / 1e6, (double)records / seconds);
    line.is_drawn = true;
}

void
progress_clear(void)
{
    if (line.is_drawn) {
        fputs("\r\033[K", stderr);
        line.is_drawn = false;
    }
}
