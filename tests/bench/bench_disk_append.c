/* What an append with an fdatasync costs on this disk, by how the space for it is made:
 *
 *     bench_disk_append FOLDER
 *
 *   grow       the file grows with each write
 *   fallocate  space is reserved ahead in steps, the file's size with it
 *   zero       reserved ahead, and zeroes written into it (extents are converted ahead)
 *   overwrite  the whole file is written before: the floor, not a way to do it
 *
 * The figures in broker/log/FORMAT.md come from here. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
require(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void
write_at(int fd, size_t size, size_t pos, int byte)
{
    static uint8_t *data;
    static size_t room;
    if (room < size) {
        data = realloc(data, size);
        room = size;
        require(data != NULL, "realloc");
    }
    memset(data, byte, size);
    require(pwrite(fd, data, size, (off_t)pos) == (ssize_t)size, "pwrite");
}

static void
make_space(struct run *run, size_t end)
{
    if (run->mode == GROW || end <= run->made) {
        return;
    }
    size_t size = run->step > end - run->made ? run->step : end - run->made;
    require(fallocate(run->fd, 0, (off_t)run->made, (off_t)size) == 0, "fallocate");
    if (run->mode != FALLOCATE) {
        write_at(run->fd, size, run->made, 0);
    }
    run->made += size;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
measure(struct run *run, const char *path)
{
    double total = 0;
    run->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    require(run->fd >= 0, "open");
    if (run->mode == OVERWRITE) {
        run->step = run->append * run->count;
        make_space(run, run->step);
    }
    require(fsync(run->fd) == 0, "fsync");
    for (size_t i = 0; i < run->count; i++) {
        double begin = now();
        make_space(run, (i + 1) * run->append);
        write_at(run->fd, run->append, i * run->append, 'x');
        require(fdatasync(run->fd) == 0, "fdatasync");
        run->seconds[i] = now() - begin;
        total += run->seconds[i];
    }
    qsort(run->seconds, run->count, sizeof(double), compare);
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
    static const size_t appends[] = {200, 4096, (size_t)1 << 20};
    static const size_t counts[] = {400, 400, 150};
    static const size_t steps[] = {(size_t)64 << 10, (size_t)1 << 20, (size_t)16 << 20};
    static double seconds[400];
    char path[1024];
    if (argc != 2) {
        fprintf(stderr, "usage: bench_disk_append FOLDER\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/bench_disk_append.tmp", argv[1]);
    for (size_t a = 0; a < 3; a++) {
        for (int mode = 0; mode < MODES; mode++) {
            size_t step_count = mode == GROW || mode == OVERWRITE ? 1 : 3;
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
