#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"

static const char *const outcomes[] = {"invoke", "ok", "fail", "info"};

void
history_deinit(struct history *history)
{
    free(history->sends);
    free(history->polls);
    free(history->starts);
    *history = (struct history){0};
}

static void *
grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 1024 : *capacity * 2;
    array = realloc(array, *capacity * size);
    DMQ_ASSERT(array != NULL);
    return array;
}

size_t
history_invoke(struct history *history, const struct history_send *send)
{
    history->sends =
        grow(history->sends, history->send_count, &history->send_capacity, sizeof(*send));
    history->sends[history->send_count] = *send;
    return history->send_count++;
}

void
history_poll(struct history *history, const struct history_poll *poll)
{
    history->polls =
        grow(history->polls, history->poll_count, &history->poll_capacity, sizeof(*poll));
    history->polls[history->poll_count++] = *poll;
}

void
history_begin(struct history *history, const struct history_start *start)
{
    history->starts =
        grow(history->starts, history->start_count, &history->start_capacity, sizeof(*start));
    history->starts[history->start_count++] = *start;
}

void
history_write(const struct history *history, FILE *file)
{
    for (size_t i = 0; i < history->send_count; i++) {
        const struct history_send *s = &history->sends[i];
        fprintf(file,
                "{\"op\":\"send\",\"type\":\"%s\",\"process\":%d,\"topic\":%d,\"partition\":%d,"
                "\"value\":%" PRIu64 ",\"offset\":%" PRId64 "}\n",
                outcomes[s->outcome], s->process, s->topic, s->partition, s->value, s->offset);
    }
    for (size_t i = 0; i < history->poll_count; i++) {
        const struct history_poll *p = &history->polls[i];
        fprintf(file,
                "{\"op\":\"poll\",\"type\":\"ok\",\"process\":%d,\"topic\":%d,\"partition\":%d,"
                "\"value\":%" PRIu64 ",\"offset\":%" PRId64 ",\"start\":%d}\n",
                p->process, p->topic, p->partition, p->value, p->offset, p->from_start);
    }
    for (size_t i = 0; i < history->start_count; i++) {
        const struct history_start *s = &history->starts[i];
        fprintf(file,
                "{\"op\":\"start\",\"type\":\"ok\",\"process\":0,\"topic\":%d,\"partition\":%d,"
                "\"value\":0,\"offset\":%" PRId64 "}\n",
                s->topic, s->partition, s->offset);
    }
}

static bool
read_line(struct history *history, const char *line)
{
    char op[8];
    char type[8];
    int start = 0;
    struct history_send s = {.outcome = HISTORY_INVOKED};
    int fields =
        sscanf(line,
               "{\"op\":\"%7[a-z]\",\"type\":\"%7[a-z]\",\"process\":%d,\"topic\":%d,"
               "\"partition\":%d,\"value\":%" SCNu64 ",\"offset\":%" SCNd64 ",\"start\":%d}",
               op, type, &s.process, &s.topic, &s.partition, &s.value, &s.offset, &start);
    if (fields == 8 && strcmp(op, "poll") == 0) {
        history_poll(history, &(struct history_poll){.process = s.process,
                                                     .topic = s.topic,
                                                     .partition = s.partition,
                                                     .offset = s.offset,
                                                     .value = s.value,
                                                     .from_start = start != 0});
        return true;
    }
    if (fields == 7 && strcmp(op, "start") == 0) {
        history_begin(history, &(struct history_start){s.topic, s.partition, s.offset});
        return true;
    }
    for (int i = 0; fields == 7 && strcmp(op, "send") == 0 && i < 4; i++) {
        if (strcmp(type, outcomes[i]) == 0) {
            s.outcome = (enum history_outcome)i;
            history_invoke(history, &s);
            return true;
        }
    }
    return false;
}

bool
history_read(struct history *history, FILE *file, size_t *ret_line)
{
    char line[512];
    *ret_line = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        ++*ret_line;
        if (!read_line(history, line)) {
            return false;
        }
    }
    return true;
}
