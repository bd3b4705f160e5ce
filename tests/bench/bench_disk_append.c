/* What an append with an fdatasync costs on this disk, by how the space for it is made:
 *
 *     bench_disk_append FOLDER
 *
 *   grow       the file grows with each write
 *   fallocate  space is reserved ahead in steps, the file's size with it
 *   zero       when space is lacking, the write itself goes on with a step of zeroes
 *   overwrite  the whole file is written before: the floor, not a way to do it
 *
 * The figures in broker/log/FORMAT.md come from here. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/support/timing.h"

#define ROOM ((size_t)64 << 20)

enum mode { GROW, FALLOCATE, ZERO, OVERWRITE, MODES };

static const char *const names[MODES] = {"grow", "fallocate", "zero", "overwrite"};

struct run {
    int fd;
    enum mode mode;
    size_t append;
    size_t step;
    size_t count;
    size_t made; /* end of the space made ahead */
    double *seconds;
};

/* Writes size bytes of data and `more` zeroes behind them. */
static void
write_at(struct run *run, size_t size, size_t pos, size_t more)
{
    static uint8_t *data;
    static uint8_t *zeroes;
    if (data == NULL) {
        data = malloc(ROOM);
        zeroes = calloc(1, ROOM);
        timing_require(data != NULL && zeroes != NULL, "malloc");
        memset(data, 'x', ROOM);
    }
    struct iovec parts[] = {{data, size}, {zeroes, more}};
    ssize_t expected = (ssize_t)(size + more);
    timing_require(pwritev(run->fd, parts, more > 0 ? 2 : 1, (off_t)pos) == expected, "pwritev");
}

static void
append(struct run *run, size_t pos)
{
    size_t end = pos + run->append;
    size_t more = 0;
    if (end > run->made && run->mode == FALLOCATE) {
        size_t target = end + run->step;
        timing_require(fallocate(run->fd, 0, (off_t)run->made, (off_t)(target - run->made)) == 0,
                       "fallocate");
        run->made = target;
    } else if (end > run->made && run->mode == ZERO) {
        more = run->step;
        run->made = end + more;
    }
    write_at(run, run->append, pos, more);
}

static void
measure(struct run *run, const char *path)
{
    double total = 0;
    run->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    timing_require(run->fd >= 0, "open");
    for (size_t i = 0; run->mode == OVERWRITE && i < run->count; i++) {
        write_at(run, run->append, i * run->append, 0);
    }
    timing_require(fsync(run->fd) == 0, "fsync");
    for (size_t i = 0; i < run->count; i++) {
        double begin = timing_now();
        append(run, i * run->append);
        timing_require(fdatasync(run->fd) == 0, "fdatasync");
        run->seconds[i] = timing_now() - begin;
        total += run->seconds[i];
    }
    timing_sort(run->seconds, run->count);
    printf(
        "%-10s append %8zu step %9zu: mean %8.0f us, p50 %8.0f, p99 %8.0f, max %8.0f; %7.1f MB/s\n",
        names[run->mode], run->append, run->step, total / (double)run->count * 1e6,
        run->seconds[run->count / 2] * 1e6, run->seconds[run->count * 99 / 100] * 1e6,
        run->seconds[run->count - 1] * 1e6, (double)(run->append * run->count) / total / 1e6);
    close(run->fd);
    unlink(path);
}

int
main(int argc, char **argv)
{
    static const size_t appends[] = {200, 4096, (size_t)64 << 10, (size_t)1 << 20};
    static const size_t counts[] = {600, 600, 400, 200};
    static const size_t steps[] = {(size_t)64 << 10, (size_t)256 << 10, (size_t)1 << 20,
                                   (size_t)16 << 20};
    static double seconds[600];
    char path[1024];
    if (argc != 2) {
        fprintf(stderr, "usage: bench_disk_append FOLDER\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/bench_disk_append.tmp", argv[1]);
    for (size_t a = 0; a < 4; a++) {
        for (int mode = 0; mode < MODES; mode++) {
            size_t step_count = mode == GROW || mode == OVERWRITE ? 1 : 4;
            for (size_t s = 0; s < step_count; s++) {
                struct run run = {.mode = (enum mode)mode,
                                  .append = appends[a],
                                  .step = steps[s],
                                  .count = counts[a],
                                  .seconds = seconds};
                measure(&run, path);
            }
        }
    }
    return 0;
}
