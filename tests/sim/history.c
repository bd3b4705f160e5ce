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
    free(history->cuts);
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
history_cut(struct history *history, const struct history_cut *cut)
{
    history->cuts = grow(history->cuts, history->cut_count, &history->cut_capacity, sizeof(*cut));
    history->cuts[history->cut_count++] = *cut;
}

/* The end of a line: an epoch only where one is known. */
static void
end_line(FILE *file, int32_t epoch)
{
    if (epoch != 0) {
        fprintf(file, ",\"epoch\":%" PRId32, epoch);
    }
    fputs("}\n", file);
}

void
history_write(const struct history *history, FILE *file)
{
    for (size_t i = 0; i < history->send_count; i++) {
        const struct history_send *s = &history->sends[i];
        fprintf(file,
                "{\"op\":\"send\",\"type\":\"%s\",\"process\":%d,\"topic\":%d,\"partition\":%d,"
                "\"value\":%" PRIu64 ",\"offset\":%" PRId64,
                outcomes[s->outcome], s->process, s->topic, s->partition, s->value, s->offset);
        end_line(file, s->epoch);
    }
    for (size_t i = 0; i < history->poll_count; i++) {
        const struct history_poll *p = &history->polls[i];
        fprintf(file,
                "{\"op\":\"poll\",\"type\":\"ok\",\"process\":%d,\"topic\":%d,\"partition\":%d,"
                "\"value\":%" PRIu64 ",\"offset\":%" PRId64 ",\"start\":%d",
                p->process, p->topic, p->partition, p->value, p->offset,
                p->from_start ? 1
                : p->back     ? 2
                              : 0);
        end_line(file, p->epoch);
    }
    fprintf(file,
            "{\"op\":\"drain\",\"type\":\"ok\",\"process\":0,\"topic\":0,\"partition\":0,"
            "\"value\":%zu,\"offset\":0}\n",
            history->drain_begins);
    for (size_t i = 0; i < history->start_count; i++) {
        const struct history_start *s = &history->starts[i];
        fprintf(file,
                "{\"op\":\"start\",\"type\":\"ok\",\"process\":0,\"topic\":%d,\"partition\":%d,"
                "\"value\":0,\"offset\":%" PRId64 "}\n",
                s->topic, s->partition, s->offset);
    }
    for (size_t i = 0; i < history->cut_count; i++) {
        const struct history_cut *c = &history->cuts[i];
        fprintf(file,
                "{\"op\":\"cut\",\"type\":\"ok\",\"process\":0,\"topic\":%d,\"partition\":%d,"
                "\"value\":0,\"offset\":%" PRId64,
                c->topic, c->partition, c->offset);
        end_line(file, c->epoch);
    }
}

static bool
read_line(struct history *history, const char *line)
{
    char op[8];
    char type[8];
    const char *start = strstr(line, "\"start\":");
    const char *epoch = strstr(line, "\"epoch\":");
    struct history_send s = {.outcome = HISTORY_INVOKED};
    int fields = sscanf(line,
                        "{\"op\":\"%7[a-z]\",\"type\":\"%7[a-z]\",\"process\":%d,\"topic\":%d,"
                        "\"partition\":%d,\"value\":%" SCNu64 ",\"offset\":%" SCNd64,
                        op, type, &s.process, &s.topic, &s.partition, &s.value, &s.offset);
    s.epoch = epoch == NULL ? 0 : (int32_t)strtol(epoch + 8, NULL, 10);
    if (fields == 7 && start != NULL && strcmp(op, "poll") == 0) {
        history_poll(history, &(struct history_poll){.process = s.process,
                                                     .topic = s.topic,
                                                     .partition = s.partition,
                                                     .offset = s.offset,
                                                     .value = s.value,
                                                     .from_start = start[8] == '1',
                                                     .back = start[8] == '2',
                                                     .epoch = s.epoch});
        return true;
    }
    if (fields == 7 && s.epoch > 0 && strcmp(op, "cut") == 0) {
        history_cut(history, &(struct history_cut){s.topic, s.partition, s.offset, s.epoch});
        return true;
    }
    if (fields == 7 && strcmp(op, "drain") == 0) {
        history->drain_begins = (size_t)s.value;
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
