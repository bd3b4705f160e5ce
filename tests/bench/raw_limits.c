/* What this machine gives without DMQ: the figures that a benchmark's own are held against.
 *
 *     raw_limits FOLDER [ROUNDS]
 *
 * prints one JSON object. FOLDER is on the disk in question; ROUNDS (default 100) is how many times
 * 1 MiB is appended and synced; everything else follows it.
 *
 *   append_*     a write and an fdatasync, one at a time: of 1 MiB and of 4 KiB, to a file that
 *                grows and (`_ahead`) into space that was written and synced before
 *   page_cache   writes of 1 MiB without a sync
 *   loopback     TCP on 127.0.0.1, two threads: 1 MiB a call one way, and 100 bytes there and back
 *   memory_copy  memcpy of 64 MiB, which is more than the caches hold */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/timing.h"

#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)
#define MESSAGE ((size_t)100)
#define COPY (64 * MIB)
#define MAX_ROUNDS 1000
#define SMALL_PER_ROUND 5 /* appends of 4 KiB for one of 1 MiB */
#define TRIPS_PER_ROUND 50

static uint8_t *block; /* COPY bytes that are not zero */
static double seconds[MAX_ROUNDS * TRIPS_PER_ROUND];

/* Microseconds of the measurements in `seconds`, which it sorts. */
static void
print_times(const char *name, size_t count)
{
    timing_sort(seconds, count);
    printf("\"%s_p50_us\": %.1f, \"%s_p99_us\": %.1f, ", name, seconds[count / 2] * 1e6, name,
           seconds[count * 99 / 100] * 1e6);
}

static void
print_rate(const char *name, size_t bytes, double time)
{
    printf("\"%s_mb_per_s\": %.1f, ", name, (double)bytes / 1e6 / time);
}

/* ---- disk ------------------------------------------------------------------------------------ */

static int
open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    timing_require(fd >= 0, path);
    return fd;
}

static void
write_at(int fd, size_t size, size_t i)
{
    timing_require(pwrite(fd, block, size, (off_t)(i * size)) == (ssize_t)size, "pwrite");
}

/* Appends and syncs; how long all took together. */
static double
append_and_sync(const char *path, size_t size, size_t count, bool is_written_before)
{
    int fd = open_file(path);
    for (size_t i = 0; is_written_before && i < count; i++) {
        write_at(fd, size, i);
    }
    timing_require(fsync(fd) == 0, "fsync");
    double begin = timing_now();
    for (size_t i = 0; i < count; i++) {
        double before = timing_now();
        write_at(fd, size, i);
        timing_require(fdatasync(fd) == 0, "fdatasync");
        seconds[i] = timing_now() - before;
    }
    double total = timing_now() - begin;
    close(fd);
    unlink(path);
    return total;
}

static void
measure_disk(const char *path, size_t rounds)
{
    print_rate("append_1m", rounds * MIB, append_and_sync(path, MIB, rounds, false));
    print_times("append_1m", rounds);
    print_rate("append_1m_ahead", rounds * MIB, append_and_sync(path, MIB, rounds, true));
    print_times("append_1m_ahead", rounds);
    size_t count = rounds * SMALL_PER_ROUND;
    append_and_sync(path, PAGE, count, false);
    print_times("append_4k", count);
    append_and_sync(path, PAGE, count, true);
    print_times("append_4k_ahead", count);

    int fd = open_file(path);
    double begin = timing_now();
    for (size_t i = 0; i < rounds; i++) {
        write_at(fd, MIB, i);
    }
    print_rate("page_cache", rounds * MIB, timing_now() - begin);
    close(fd);
    unlink(path);
}

/* ---- loopback -------------------------------------------------------------------------------- */

/* Both ends of one connection. */
static void
connect_pair(int ret_fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timing_require(listener >= 0 && bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    timing_require(listen(listener, 1) == 0, "listen");
    timing_require(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timing_require(connect(ret_fds[0], (struct sockaddr *)&address, size) == 0, "connect");
    ret_fds[1] = accept(listener, NULL, NULL);
    timing_require(ret_fds[1] >= 0, "accept");
    for (int i = 0; i < 2; i++) {
        int on = 1;
        timing_require(setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0,
                       "nodelay");
    }
    close(listener);
}

static bool
receive_all(int fd, uint8_t *data, size_t size)
{
    ssize_t got = recv(fd, data, size, MSG_WAITALL);
    return got == (ssize_t)size;
}

static void
send_all(int fd, const uint8_t *data, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t count = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
        timing_require(count > 0, "send");
        sent += (size_t)count;
    }
}

/* The far end: answers each message with itself, until the other closes. */
static void *
echo(void *arg)
{
    uint8_t message[MESSAGE];
    int fd = *(int *)arg;
    while (receive_all(fd, message, MESSAGE)) {
        send_all(fd, message, MESSAGE);
    }
    return NULL;
}

/* The far end: takes what comes; one byte at the end says that it has all. */
static void *
swallow(void *arg)
{
    uint8_t *room = malloc(MIB);
    int fd = *(int *)arg;
    timing_require(room != NULL, "malloc");
    while (recv(fd, room, MIB, 0) > 0) {
    }
    send_all(fd, room, 1);
    free(room);
    return NULL;
}

static void
measure_round_trip(size_t count)
{
    int fds[2];
    uint8_t answer[MESSAGE];
    pthread_t thread;
    connect_pair(fds);
    timing_require(pthread_create(&thread, NULL, echo, &fds[1]) == 0, "pthread_create");
    for (size_t i = 0; i < count; i++) {
        double before = timing_now();
        send_all(fds[0], block, MESSAGE);
        timing_require(receive_all(fds[0], answer, MESSAGE), "recv");
        seconds[i] = timing_now() - before;
    }
    close(fds[0]);
    pthread_join(thread, NULL);
    close(fds[1]);
    print_times("loopback_trip", count);
}

static void
measure_throughput(size_t count)
{
    int fds[2];
    uint8_t end;
    pthread_t thread;
    connect_pair(fds);
    timing_require(pthread_create(&thread, NULL, swallow, &fds[1]) == 0, "pthread_create");
    double begin = timing_now();
    for (size_t i = 0; i < count; i++) {
        send_all(fds[0], block, MIB);
    }
    shutdown(fds[0], SHUT_WR);
    timing_require(receive_all(fds[0], &end, 1), "recv");
    print_rate("loopback", count * MIB, timing_now() - begin);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void
measure_copy(size_t rounds)
{
    uint8_t *to = malloc(COPY);
    size_t count = rounds / 20 + 1;
    timing_require(to != NULL, "malloc");
    memset(to, 1, COPY); /* its pages exist */
    double begin = timing_now();
    for (size_t i = 0; i < count; i++) {
        block[i] = (uint8_t)i;
        memcpy(to, block, COPY);
    }
    double time = timing_now() - begin;
    timing_require(to[count - 1] == block[count - 1], "memcpy");
    printf("\"memory_copy_mb_per_s\": %.1f", (double)(count * COPY) / 1e6 / time);
    free(to);
}

int
main(int argc, char **argv)
{
    char path[1024];
    long rounds = argc == 3 ? strtol(argv[2], NULL, 10) : 100;
    if (argc < 2 || argc > 3 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: raw_limits FOLDER [ROUNDS], 1 to %d rounds\n", MAX_ROUNDS);
        return 2;
    }
    block = malloc(COPY);
    timing_require(block != NULL, "malloc");
    memset(block, 'x', COPY);
    snprintf(path, sizeof(path), "%s/raw_limits.tmp", argv[1]);
    printf("{");
    measure_disk(path, (size_t)rounds);
    measure_round_trip((size_t)rounds * TRIPS_PER_ROUND);
    measure_throughput((size_t)rounds * 4);
    measure_copy((size_t)rounds);
    printf("}\n");
    free(block);
    return 0;
}
