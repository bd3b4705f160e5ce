/* The one checker of histories, whether the simulator, chaos or containers made them (the Kafka
 * workload of Jepsen, and its set check). A history must end with a drain: a reader that read every
 * partition from its start to its end after the last send.
 *
 * Where a leader was elected uncleanly (struct history_cut), what may be lost is known: records
 * that are not in the drain, of an earlier epoch, at or above the cut. Nothing else is forgiven. */
#ifndef TESTS_SIM_CHECKER_H
#define TESTS_SIM_CHECKER_H

#include "tests/sim/history.h"

enum anomaly {
    ANOMALY_NONE,
    ANOMALY_LOST,         /* acknowledged, at or above the log start, and not in the log */
    ANOMALY_DUPLICATE,    /* one value at two offsets */
    ANOMALY_INCONSISTENT, /* two values at one offset, or a value elsewhere than acknowledged */
    ANOMALY_PHANTOM,      /* never sent, or to another partition */
    ANOMALY_UNDEAD,       /* surely not stored, it was said, and it is in the log */
    ANOMALY_SEND_ORDER,   /* a process's values of one partition in another order than sent */
    ANOMALY_POLL_ORDER,   /* a reader went back */
    ANOMALY_POLL_SKIP, /* a reader left out an offset that retention has not taken, or went on from
                          what was lost to what is there, and was not told */
    ANOMALY_UNSEEN     /* acknowledged, in the log, and the drain did not see it */
};

struct verdict {
    enum anomaly anomaly;
    char text[200]; /* a sentence */
};

const char *anomaly_name(enum anomaly anomaly);

/* drain: the process whose polls are the final drain. The first anomaly, or ANOMALY_NONE. */
struct verdict history_check(const struct history *history, int drain);

#endif
