/* A broker that does not know a name may only be behind: who created the topic, through another
 * broker or in another process, has its answer already. So before it says "unknown" it asks the
 * leading controller how far the metadata are committed, and waits for its own image to be as new.
 *
 *   doubts --one question for all of them--> asked --its answer--> handled again, as one whose
 *                                                                  asker has seen that version
 *
 * One question at most is on its way, so that a flood of names that do not exist costs the
 * controller little. A call that comes meanwhile waits for the next one: the answer under way may
 * be older than what it rests on. Where no controller leads, or its answer takes too long, the
 * bound of stalled calls ends the wait, and the call is answered from what is known. */
#include "broker/core/call.h"
#include "broker/core/partition.h"

static void
ask(struct brk *brk)
{
    if (!brk->controller_up || brk->confirm_tag != 0 || list_empty(&brk->doubts)) {
        return;
    }
    DMQ_ASSERT(list_empty(&brk->asked));
    list_take(&brk->asked, &brk->doubts);
    const struct committed_version_request request = {.broker_id = brk->config.broker_id};
    brk->confirm_tag =
        controller_send(brk, API_COMMITTED_VERSION, &request, NULL, 0, CALL_MAX_STALL_MS);
}

bool
call_confirm(struct brk *brk, struct call *call)
{
    if (call->confirmed || !call_may_stall(brk, call)) {
        return false;
    }
    list_append(&brk->doubts, &call->stalled_link);
    call_park(brk, call, call->stall_until_ms);
    ask(brk);
    return true;
}

/* Nobody answered: whoever is asked next answers them all. */
static void
ask_again(struct brk *brk)
{
    struct list *link;
    while ((link = list_pop(&brk->asked)) != NULL) {
        list_append(&brk->doubts, link);
    }
}

/* version 0: it could not be found out. */
static void
go_on(struct brk *brk, int64_t version)
{
    struct list *link;
    struct list asked;
    list_take(&asked, &brk->asked);
    while ((link = list_pop(&asked)) != NULL) {
        struct call *call = LIST_ENTRY(link, struct call, stalled_link);
        call->confirmed = true;
        if (call->header.metadata_version < version) {
            call->header.metadata_version = version;
        }
        heap_remove(&brk->deadlines, &call->deadline);
        call_dispatch(brk, call);
    }
    DMQ_ASSERT(list_empty(&brk->asked));
}

bool
confirm_on_reply(struct brk *brk, const struct brk_reply *reply)
{
    if (reply->tag == 0 || reply->tag != brk->confirm_tag) {
        return false;
    }
    struct committed_version_response response;
    int64_t version;
    struct err_msg err;
    dmq_err failed =
        controller_answer(reply, desc_committed_version_response(), &response, &version, &err);
    brk->confirm_tag = 0;
    if (reply->count == 0 || controllers_is_loss(failed)) {
        ask_again(brk);
    } else {
        go_on(brk, failed == DMQ_OK ? response.version : 0);
        ask(brk);
    }
    if (reply->count > 0) {
        controllers_heard(brk, failed);
    }
    return true;
}

void
confirm_on_controller_up(struct brk *brk)
{
    ask(brk);
}

void
confirm_on_controller_down(struct brk *brk)
{
    brk->confirm_tag = 0;
    ask_again(brk);
}
