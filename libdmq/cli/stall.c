#include "libdmq/cli/stall.h"

enum stall_news
stall_look(struct stall *stall, uint64_t sent, uint64_t done, int64_t now_ns, int64_t *ret_ns)
{
    bool moves = stall->since_ns == 0 || done >= sent || done != stall->done;
    int64_t stuck_ns = now_ns - stall->since_ns;
    if (!moves) {
        bool begins = !stall->is_told && stuck_ns >= STALL_LOOK_MS * INT64_C(1000000);
        stall->is_told = stall->is_told || begins;
        return begins ? STALL_BEGAN : STALL_NONE;
    }
    bool ended = stall->is_told;
    *stall = (struct stall){.done = done, .since_ns = now_ns};
    if (ended) {
        *ret_ns = stuck_ns;
    }
    return ended ? STALL_ENDED : STALL_NONE;
}
