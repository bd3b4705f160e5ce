#include "broker/node/log_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/log/log_tool.h"
#include "libdmq/conf/daemon_conf.h"
#include "libdmq/os/clock.h"
#include "libdmq/os/fs_posix.h"

#define DRAW_INTERVAL_MS 200

/* The progress line on stderr, if that is a terminal: a large folder takes minutes. */
static struct {
    int64_t next_ms;
    bool is_drawn;
} line;

static void
clear(void)
{
    if (line.is_drawn) {
        fputs("\r\033[K", stderr);
        line.is_drawn = false;
    }
}

static void
draw(void *arg, int64_t batches, int64_t bytes)
{
    (void)arg;
    int64_t now_ms = clock_ms();
    if (now_ms < line.next_ms) {
        return;
    }
    line.next_ms = now_ms + DRAW_INTERVAL_MS;
    fprintf(stderr, "\r\033[Kchecked %" PRId64 " batches, %.1f MB", batches, (double)bytes / 1e6);
    line.is_drawn = true;
}

static void
print_line(void *arg, const char *text, size_t size)
{
    (void)arg;
    clear();
    fwrite(text, 1, size, stdout);
    putchar('\n');
}

bool
log_command_asked(int argc, char **argv)
{
    return argc > 1 && strncmp(argv[1], "--log-", strlen("--log-")) == 0;
}

int
log_command_run(int argc, char **argv)
{
    bool dump = strcmp(argv[1], "--log-dump") == 0;
    bool verify = strcmp(argv[1], "--log-verify") == 0;
    bool good = (dump || verify) && argc > 2;
    bool quiet = false;
    struct log_sink sink = {.line = print_line};
    for (int i = 3; i < argc; i++) {
        sink.json |= strcmp(argv[i], "--json") == 0;
        quiet |= strcmp(argv[i], "--quiet") == 0;
        good = good && (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "--quiet") == 0);
    }
    if (!good) {
        fprintf(stderr, "dmq-broker: --log-dump FILE or --log-verify DIR, then --json, --quiet or "
                        "nothing\n");
        return DAEMON_EXIT_USAGE;
    }
    if (!quiet && isatty(STDERR_FILENO)) {
        line.next_ms = clock_ms() + DRAW_INTERVAL_MS;
        sink.progress = draw;
    }
    int code = dump ? log_tool_dump(fs_posix(), argv[2], &sink)
                    : log_tool_verify(fs_posix(), argv[2], &sink);
    clear();
    return code;
}
