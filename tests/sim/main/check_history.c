/* The checker of histories as a program, for those that were made by real processes:
 *
 *   check_history DRAIN < history.jsonl
 *
 * DRAIN is the process whose polls are the final drain. Exit 0: nothing wrong; 1: an anomaly, named
 * on stdout; 2: the history cannot be read, or has nothing in it. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/checker.h"

static int
judge(const struct history *history, int drain)
{
    if (history->send_count == 0 || history->poll_count == 0) {
        fprintf(stderr, "check_history: no sends or no polls\n");
        return 2;
    }
    struct verdict verdict = history_check(history, drain);
    if (verdict.anomaly != ANOMALY_NONE) {
        printf("%s\n", verdict.text);
        return 1;
    }
    printf("%zu sends and %zu polls: nothing wrong\n", history->send_count, history->poll_count);
    return 0;
}

int
main(int argc, char **argv)
{
    char *end = NULL;
    long drain = argc == 2 ? strtol(argv[1], &end, 10) : 0;
    if (argc != 2 || end == argv[1] || *end != '\0' || drain < 0 || drain > 1000000) {
        fprintf(stderr, "usage: check_history DRAIN < history.jsonl\n");
        return 2;
    }
    struct history history = {0};
    size_t line;
    int code = 2;
    if (history_read(&history, stdin, &line)) {
        code = judge(&history, (int)drain);
    } else {
        fprintf(stderr, "check_history: line %zu is malformed\n", line);
    }
    history_deinit(&history);
    return code;
}
