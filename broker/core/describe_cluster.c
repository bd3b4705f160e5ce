/* DESCRIBE_CLUSTER: what this broker knows of the cluster, from its image and from services.json.
 * It needs no controller, so that it can be asked just when there is none. */
#include <stdlib.h>

#include "broker/core/address.h"
#include "broker/core/call.h"

#define MAX_AILING 100 /* of describe_cluster_response */

/* ---- partitions ------------------------------------------------------------------------------ */

enum ailment { LEADERLESS, BELOW_MIN_ISR, UNDER_REPLICATED, HEALTHY };

static enum ailment
ailment_of(const struct partition_record *p)
{
    if (p->leader == -1) {
        return LEADERLESS;
    }
    if (p->isr_count < (uint32_t)p->min_isr) {
        return BELOW_MIN_ISR;
    }
    return p->isr_count < p->replicas_count ? UNDER_REPLICATED : HEALTHY;
}

static int
by_id(const void *a, const void *b)
{
    const struct cluster_broker *x = a;
    const struct cluster_broker *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* They are in order of id. */
static struct cluster_broker *
find(const struct describe_cluster_response *response, int32_t id)
{
    const struct cluster_broker key = {.id = id};
    return bsearch(&key, response->brokers, response->brokers_count, sizeof(key), by_id);
}

/* What one partition adds to the figures. Every replica is on a registered broker, so on one of the
 * list. */
static void
count_partition(const struct partition_record *p, struct describe_cluster_response *response,
                uint32_t counts[HEALTHY + 1])
{
    counts[ailment_of(p)]++;
    response->under_replicated_count += p->isr_count < p->replicas_count;
    for (uint32_t r = 0; r < p->replicas_count; r++) {
        struct cluster_broker *broker = find(response, p->replicas[r]);
        DMQ_ASSERT(broker != NULL);
        broker->replicas++;
        broker->leaders += p->leader == p->replicas[r];
    }
}

static void
list_ailing(const struct image_topic *topic, enum ailment which,
            struct describe_cluster_response *response)
{
    for (uint32_t n = 0; n < topic->partition_count && response->ailing_count < MAX_AILING; n++) {
        const struct partition_record *p = topic->partitions[n];
        if (ailment_of(p) == which) {
            response->ailing[response->ailing_count++] =
                (struct ailing_partition){.topic_name = topic->record->name,
                                          .partition = p->partition,
                                          .leader = p->leader,
                                          .replicas = p->replicas,
                                          .replicas_count = p->replicas_count,
                                          .isr = p->isr,
                                          .isr_count = p->isr_count,
                                          .min_isr = p->min_isr};
        }
    }
}

static void
describe_partitions(const struct brk *brk, struct call *call,
                    struct describe_cluster_response *response)
{
    uint32_t topics = image_topic_count(brk->image);
    uint32_t counts[HEALTHY + 1] = {0};
    for (uint32_t i = 0; i < topics; i++) {
        const struct image_topic *topic = image_topic_at(brk->image, i);
        for (uint32_t n = 0; n < topic->partition_count; n++) {
            count_partition(topic->partitions[n], response, counts);
        }
    }
    response->topic_count = (int32_t)topics;
    response->partition_count = (int32_t)image_partition_total(brk->image);
    response->leaderless_count = (int32_t)counts[LEADERLESS];
    response->below_min_isr_count = (int32_t)counts[BELOW_MIN_ISR];
    response->ailing = arena_alloc(&call->arena, MAX_AILING * sizeof(*response->ailing));
    DMQ_ASSERT(response->ailing != NULL);
    for (int which = LEADERLESS; which < HEALTHY; which++) {
        for (uint32_t i = 0; i < topics && counts[which] > 0; i++) {
            list_ailing(image_topic_at(brk->image, i), (enum ailment)which, response);
        }
    }
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static const struct brk_service *
service_of(const struct brk *brk, int32_t broker_id)
{
    for (size_t i = 0; i < brk->config.broker_count; i++) {
        if (brk->config.brokers[i].id == broker_id) {
            return &brk->config.brokers[i];
        }
    }
    return NULL;
}

/* Those that are registered, and those that services.json names and nobody has seen. */
static void
describe_brokers(const struct brk *brk, struct call *call,
                 struct describe_cluster_response *response)
{
    const struct describe_cluster_request *request = call->request;
    uint32_t registered = image_broker_count(brk->image);
    size_t most = registered + brk->config.broker_count;
    response->brokers = arena_alloc(&call->arena, most * sizeof(*response->brokers));
    DMQ_ASSERT(response->brokers != NULL);
    for (uint32_t i = 0; i < registered; i++) {
        const struct broker_record *broker = image_broker_at(brk->image, i);
        const struct brk_service *service = service_of(brk, broker->broker_id);
        struct address at = address_for(brk->image, request->dialled_host, broker);
        response->brokers[response->brokers_count++] =
            (struct cluster_broker){.id = broker->broker_id,
                                    .host = at.host,
                                    .port = at.port,
                                    .rack = broker->rack,
                                    .controller = service == NULL ? -1 : service->controller,
                                    .registered = true,
                                    .fenced = broker->fenced,
                                    .shutting_down = broker->shutting_down};
    }
    for (size_t i = 0; i < brk->config.broker_count; i++) {
        const struct brk_service *service = &brk->config.brokers[i];
        if (image_broker(brk->image, service->id) == NULL) {
            response->brokers[response->brokers_count++] =
                (struct cluster_broker){.id = service->id,
                                        .host = bytes_str(service->host),
                                        .port = service->port,
                                        .rack = bytes_str(service->rack),
                                        .controller = service->controller};
        }
    }
    qsort(response->brokers, response->brokers_count, sizeof(*response->brokers), by_id);
}

static void
describe_controllers(const struct brk *brk, struct call *call,
                     struct describe_cluster_response *response)
{
    size_t count = brk->config.controller_count;
    response->controllers = arena_alloc(&call->arena, count * sizeof(*response->controllers));
    DMQ_ASSERT(response->controllers != NULL);
    for (size_t i = 0; i < count; i++) {
        const struct brk_service *service = &brk->config.controllers[i];
        struct cluster_controller *to = &response->controllers[response->controllers_count++];
        *to = (struct cluster_controller){.id = service->id,
                                          .host = bytes_str(service->host),
                                          .port = service->port,
                                          .leader = service->id == response->leader};
        to->brokers = arena_alloc(&call->arena, brk->config.broker_count * sizeof(*to->brokers));
        DMQ_ASSERT(to->brokers != NULL);
        for (size_t k = 0; k < brk->config.broker_count; k++) {
            if (brk->config.brokers[k].controller == service->id) {
                to->brokers[to->brokers_count++] = brk->config.brokers[k].id;
            }
        }
    }
}

void
on_describe_cluster(struct brk *brk, struct call *call)
{
    if (call_stall(brk, call, true)) {
        return;
    }
    struct describe_cluster_response response = {
        .cluster_id = brk->config.cluster_id,
        .cluster_name = bytes_str(brk->config.cluster_name),
        .version = image_version(brk->image),
        .leader = brk->controller_up ? brk->controller_id : -1,
        .answered_by = brk->config.broker_id};
    describe_brokers(brk, call, &response);
    describe_controllers(brk, call, &response);
    describe_partitions(brk, call, &response);
    call_answer(brk, call, &response, NULL, 0);
}
