/* A broker process announces itself. Its broker epoch is the version of the entry that holds its
 * record, so an entry holds one registration of a broker at most.
 *
 * It replaces the registration that it names, by compare-and-set: a request that was on its way for
 * long, of a process that has ended since, names an older one and replaces nobody (trap 26). Who
 * named another is told which one there is, and asks again, as only a living process can. A folder
 * that was emptied or restored knows none or an older one, and comes in the same way.
 *
 * The leaderships of the former incarnation end in the same entry: the new process may have lost
 * what the old one had written but not synced, and must not write other records under the same
 * leader epoch (trap 14a). It stays fenced until it says that it has applied this very entry. */
#include <inttypes.h>

#include "controller/core/call.h"

enum folder_condition { FOLDER_CLEAN, FOLDER_UNCLEAN, FOLDER_DAMAGED, FOLDER_EMPTY };

static dmq_err
check_endpoints(const struct register_broker_request *request, struct err_msg *err)
{
    bool client = false, node = false;
    for (uint32_t i = 0; i < request->endpoints_count; i++) {
        const struct endpoint *endpoint = &request->endpoints[i];
        if (endpoint->host.size == 0 || endpoint->port < 1 || endpoint->port > 65535) {
            return err_set(err, DMQ_ERR_INVALID_REQUEST,
                           "endpoint %" PRIu32 " needs a host and a port from 1 to 65535", i);
        }
        client |= bytes_equal_str(endpoint->listener, "client");
        node |= bytes_equal_str(endpoint->listener, "node");
    }
    if (!client || !node) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "a broker has an endpoint for the listener 'client' and one for 'node'");
    }
    return DMQ_OK;
}

static dmq_err
check_request(const struct ctl *ctl, const struct register_broker_request *request,
              struct err_msg *err)
{
    char ours[UUID_TEXT_SIZE], theirs[UUID_TEXT_SIZE];
    struct uuid cluster_id = image_cluster_id(ctl->image);
    if (!uuid_is_zero(request->cluster_id) && !uuid_equal(request->cluster_id, cluster_id)) {
        return err_set(err, DMQ_ERR_INCONSISTENT_CLUSTER_ID,
                       "broker %" PRId32 " has data of cluster %s, this is cluster %s: check its "
                       "--services and --data",
                       request->broker_id, uuid_text(request->cluster_id, theirs),
                       uuid_text(cluster_id, ours));
    }
    if (request->broker_id < 0 || uuid_is_zero(request->incarnation) ||
        request->folders_count == 0) {
        return err_set(err, DMQ_ERR_INVALID_REQUEST,
                       "a registration names a broker id, an incarnation and a data folder");
    }
    for (uint32_t i = 0; i < request->folders_count; i++) {
        int8_t state = request->folders[i].state;
        if (uuid_is_zero(request->folders[i].disk_id) || state < FOLDER_CLEAN ||
            state > FOLDER_EMPTY) {
            return err_set(err, DMQ_ERR_INVALID_REQUEST,
                           "data folder %" PRIu32 " needs a disk id and a state from 0 to 3", i);
        }
    }
    return check_endpoints(request, err);
}

/* One folder in common is enough: they are locked by the same process. */
static bool
same_disk(const struct broker_record *known, const struct register_broker_request *request)
{
    for (uint32_t i = 0; i < known->folders_count; i++) {
        for (uint32_t k = 0; k < request->folders_count; k++) {
            if (uuid_equal(known->folders[i].disk_id, request->folders[k].disk_id)) {
                return true;
            }
        }
    }
    return false;
}

/* Whether this process may take the place of the one that is registered. With the same disk the
 * lock of the folder proves that the former has ended; otherwise only its silence does (trap 26).
 */
static dmq_err
check_succession(struct ctl *ctl, const struct broker_record *known,
                 const struct register_broker_request *request, struct err_msg *err)
{
    const struct session *session = session_of(ctl, known->broker_id);
    if (known->broker_epoch == ctl->batch.version) { /* a guess: nobody was told of it */
        return err_set(err, DMQ_ERR_DUPLICATE_BROKER,
                       "broker %" PRId32 " is being registered by another process: try again",
                       known->broker_id);
    }
    if (uuid_equal(session->former, request->incarnation)) {
        return err_set(err, DMQ_ERR_STALE_BROKER_EPOCH,
                       "broker %" PRId32 " was registered by another process since: this one must "
                       "end",
                       known->broker_id);
    }
    if (!same_disk(known, request) && session_alive(ctl, session)) {
        return err_set(err, DMQ_ERR_DUPLICATE_BROKER,
                       "broker %" PRId32 " is running on another disk: stop it, or give this "
                       "process another --id",
                       known->broker_id);
    }
    return DMQ_OK;
}

/* How its former incarnation leaves, by the worst of its folders. known NULL: there was none. */
static enum leave
leave_of(const struct broker_record *known, const struct register_broker_request *request)
{
    int8_t worst = FOLDER_CLEAN;
    for (uint32_t i = 0; i < request->folders_count; i++) {
        worst = request->folders[i].state > worst ? request->folders[i].state : worst;
    }
    if (worst == FOLDER_EMPTY || (known != NULL && !same_disk(known, request))) {
        return LEAVE_EMPTY;
    }
    return worst == FOLDER_DAMAGED   ? LEAVE_DAMAGED
           : worst == FOLDER_UNCLEAN ? LEAVE_UNCLEAN
                                     : LEAVE_FENCED;
}

/* Fenced until it has applied this entry: before, it might act on leaderships that just ended. */
static void
propose(struct ctl *ctl, const struct register_broker_request *request)
{
    struct broker_record record = {
        .broker_id = request->broker_id,
        .broker_epoch = ctl->batch.version,
        .incarnation = request->incarnation,
        .rack = request->rack,
        .advertised_host = request->advertised_host,
        .advertised_port = request->advertised_port,
        .fenced = true,
        .endpoints = request->endpoints,
        .endpoints_count = request->endpoints_count,
        .folders = request->folders,
        .folders_count = request->folders_count,
    };
    ctl_propose(ctl, RECORD_BROKER, &record);
}

/* Everything that was known of the former process is forgotten: a wiped replica may hide behind it
 * (trap 11). */
static void
begin_session(struct ctl *ctl, const struct register_broker_request *request, struct uuid former)
{
    struct session *session = session_of(ctl, request->broker_id);
    session->former = former;
    session->acked_version = -1;
    session->digest_wrong = false;
    session->want_fence = false;
    session->push_after_ms = ctl->now_ms;
    session_renew(ctl, session);
    session_connect(ctl, session); /* early: it will be needed as soon as the entry is stored */
}

/* It has told nobody of them: a registration is the first that a process says. */
static void
leave_damaged_logs(struct ctl *ctl, const struct register_broker_request *request)
{
    for (uint32_t i = 0; i < request->damaged_count; i++) {
        struct damaged_log log = request->damaged[i];
        log.told_epoch = -1;
        change_damaged(ctl, request->broker_id, &log);
    }
}

/* Whether the answer is already known: the same process asks again, or it knows of an older
 * registration than there is. */
static bool
is_answered(struct ctl *ctl, const struct broker_record *known,
            const struct register_broker_request *request,
            struct register_broker_response *response)
{
    if (uuid_equal(known->incarnation, request->incarnation)) {
        response->broker_epoch = known->broker_epoch;
        session_renew(ctl, session_of(ctl, request->broker_id));
        return true;
    }
    response->broker_epoch = -1;
    return request->replaces != known->broker_epoch;
}

dmq_err
ctl_on_register_broker(struct ctl *ctl, struct call *call)
{
    const struct register_broker_request *request = call->request;
    struct register_broker_response response = {.cluster_id = image_cluster_id(ctl->image),
                                                .present = ctl->batch.version};
    struct uuid former = {{0}};
    dmq_err code = check_request(ctl, request, &call->err);
    if (code != DMQ_OK) {
        return code;
    }
    const struct broker_record *known = image_broker(ctl->image, request->broker_id);
    if (known != NULL) {
        if (is_answered(ctl, known, request, &response)) {
            response.present = known->broker_epoch;
            ctl_call_set_body(call, &response);
            return DMQ_OK;
        }
        code = check_succession(ctl, known, request, &call->err);
        if (code != DMQ_OK) {
            return code;
        }
        former = known->incarnation;
    } else if (image_broker_count(ctl->image) == META_MAX_BROKERS) {
        return err_set(&call->err, DMQ_ERR_POLICY_VIOLATION, "there are %d brokers already",
                       META_MAX_BROKERS);
    }
    enum leave leave = leave_of(known, request);
    propose(ctl, request);
    change_leave(ctl, request->broker_id, leave);
    leave_damaged_logs(ctl, request);
    begin_session(ctl, request, former);
    response.broker_epoch = ctl->batch.version;
    ctl_log(ctl, false, "broker_registered broker=%" PRId32 " epoch=%" PRId64 " folder=%s",
            request->broker_id, response.broker_epoch,
            leave == LEAVE_EMPTY     ? "empty"
            : leave == LEAVE_DAMAGED ? "damaged"
            : leave == LEAVE_UNCLEAN ? "unclean"
                                     : "clean");
    ctl_call_set_body(call, &response);
    return DMQ_OK;
}
