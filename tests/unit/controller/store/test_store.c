/* The store alone, and the core over it: whatever entry a controller ends after, its next start has
 * the image that it had when that entry was committed. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/core/core.h"
#include "controller/store/store.h"
#include "libdmq/meta/image.h"
#include "libdmq/wire/codec.h"
#include "tests/support/mem_kv.h"
#include "tests/support/tempdir.h"

static struct tempdir dir;

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tempdir_remove(&dir);
    return 0;
}

static struct kv *
open_store(bool create)
{
    struct kv *kv;
    struct err_msg err;
    assert_int_equal(ctl_store_open(dir.path, create, &kv, &err), DMQ_OK);
    return kv;
}

/* What a load hands out: "1:abc 2:d ". */
struct found {
    char text[4000];
    int64_t refuse; /* this version */
};

static dmq_err
note(void *arg, int64_t version, struct bytes entry)
{
    struct found *found = arg;
    if (version == found->refuse) {
        return DMQ_ERR_NOMEM;
    }
    size_t size = strlen(found->text);
    snprintf(found->text + size, sizeof(found->text) - size, "%" PRId64 ":%.*s ", version,
             (int)entry.size, (const char *)entry.data);
    return DMQ_OK;
}

static void
entries_come_back_in_order(void **state)
{
    (void)state;
    struct err_msg err;
    struct found found = {0};
    struct kv *kv = open_store(true);
    assert_int_equal(ctl_store_load(kv, note, &found, &err), DMQ_OK);
    assert_string_equal(found.text, "");
    for (int64_t i = 1; i <= 300; i++) { /* beyond one byte of the key */
        assert_int_equal(ctl_store_append(kv, i, bytes_str(i == 256 ? "here" : "")), DMQ_OK);
    }
    kv->ops->close(kv);
    kv = open_store(false);
    assert_int_equal(ctl_store_load(kv, note, &found, &err), DMQ_OK);
    assert_non_null(strstr(found.text, "1: 2: 3: "));
    assert_non_null(strstr(found.text, "255: 256:here 257: "));
    kv->ops->close(kv);
}

static void
an_error_of_the_reader_ends_it(void **state)
{
    (void)state;
    struct err_msg err;
    struct found found = {.refuse = 2};
    struct kv *kv = open_store(true);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(ctl_store_append(kv, i, bytes_str("x")), DMQ_OK);
    }
    assert_int_equal(ctl_store_load(kv, note, &found, &err), DMQ_ERR_NOMEM);
    assert_string_equal(found.text, "1:x ");
    kv->ops->close(kv);
}

static void
a_missing_store_is_made_only_on_request(void **state)
{
    (void)state;
    struct kv *kv;
    struct err_msg err;
    assert_int_equal(ctl_store_open(dir.path, false, &kv, &err), DMQ_ERR_DAMAGED);
    kv = open_store(true);
    kv->ops->close(kv);
}

static void
holes_and_strange_keys_are_damage(void **state)
{
    (void)state;
    struct mem_kv mem;
    struct err_msg err;
    struct found found = {0};
    mem_kv_init(&mem);
    assert_int_equal(ctl_store_append(&mem.kv, 1, bytes_str("a")), DMQ_OK);
    assert_int_equal(ctl_store_append(&mem.kv, 3, bytes_str("c")), DMQ_OK);
    assert_int_equal(ctl_store_load(&mem.kv, note, &found, &err), DMQ_ERR_DAMAGED);
    assert_string_equal(err.text, "entry 2 of the log is missing, entry 3 is there");
    assert_int_equal(ctl_store_append(&mem.kv, 2, bytes_str("b")), DMQ_OK);
    assert_int_equal(ctl_store_load(&mem.kv, note, &found, &err), DMQ_OK);
    struct kv_op odd = {.key = bytes_str("log/odd"), .value = bytes_str("")};
    assert_int_equal(mem.kv.ops->write(&mem.kv, &odd, 1, true), DMQ_OK);
    assert_int_equal(ctl_store_load(&mem.kv, note, &found, &err), DMQ_ERR_DAMAGED);
    mem_kv_deinit(&mem);
}

/* ---- a restart after every entry ------------------------------------------------------------- */

static struct ctl *
new_core(void)
{
    const struct ctl_config config = {.controller_id = 1,
                                      .instance_id = {{1}},
                                      .session_timeout_ms = 2000,
                                      .max_message_bytes = 1 << 20,
                                      .max_requests = 10,
                                      .seed = 7,
                                      .new_cluster_id = {{2}}};
    return ctl_new(&config);
}

struct world {
    struct kv *kv;
    struct ctl *ctl;
    struct ctl_effects effects;
    int64_t restarts;
    int64_t replies;
};

/* Carries out the effects of a step; returns the entry that is to be stored, if there is one. */
static struct buf *
step(struct world *w, struct ctl_event *event, int64_t *ret_version)
{
    struct buf *entry = NULL;
    event->now_ms = 1000;
    ctl_step(w->ctl, event, &w->effects);
    for (size_t i = 0; i < w->effects.count; i++) {
        struct ctl_effect *effect = &w->effects.items[i];
        assert_int_not_equal(effect->kind, CTL_FAIL);
        w->replies += effect->kind == CTL_REPLY;
        if (effect->kind == CTL_PERSIST) {
            entry = buf_ref(effect->u.persist.entry);
            *ret_version = effect->u.persist.version;
        }
        ctl_effect_deinit(effect);
    }
    w->effects.count = 0;
    return entry;
}

static dmq_err
load_entry(void *arg, int64_t version, struct bytes entry)
{
    int64_t ignored;
    struct ctl_event event = {.kind = CTL_LOADED};
    event.u.loaded.version = version;
    event.u.loaded.entry = entry;
    assert_null(step(arg, &event, &ignored));
    return DMQ_OK;
}

/* What a process that starts now would hold. */
static void
check_restart(struct world *w)
{
    struct err_msg err;
    int64_t ignored;
    struct world again = {.ctl = new_core()};
    w->kv->ops->close(w->kv);
    w->kv = open_store(false);
    assert_int_equal(ctl_store_load(w->kv, load_entry, &again, &err), DMQ_OK);
    assert_int_equal(image_version(ctl_image(again.ctl)), image_version(ctl_image(w->ctl)));
    assert_int_equal(image_digest(ctl_image(again.ctl)), image_digest(ctl_image(w->ctl)));
    assert_null(step(&again, &(struct ctl_event){.kind = CTL_STARTED}, &ignored));
    w->restarts++;
    ctl_free(again.ctl);
    ctl_effects_deinit(&again.effects);
}

/* An event, and everything that comes of it: stored, looked at by a new process, told to the core.
 */
static void
run(struct world *w, struct ctl_event *event)
{
    int64_t version;
    struct buf *entry = step(w, event, &version);
    while (entry != NULL) {
        struct ctl_event persisted = {.kind = CTL_PERSISTED};
        assert_int_equal(ctl_store_append(w->kv, version, buf_bytes(entry)), DMQ_OK);
        buf_unref(entry);
        check_restart(w);
        persisted.u.persisted.version = version;
        entry = step(w, &persisted, &version);
    }
}

static void
ask(struct world *w, int16_t key, const void *body)
{
    const struct api_desc *api = api_find(key);
    struct request_header header = {.protocol = WIRE_PROTOCOL, .api_key = key};
    struct envelope_request envelope = {0};
    struct buf *frames[4];
    size_t count = 0;
    if ((api->listeners & LISTENER_CONTROLLER) == 0) {
        header.api_key = API_ENVELOPE;
        frames[count++] = msg_encode_buf(desc_request_header(), 0, &header);
        frames[count++] = msg_encode_buf(desc_envelope_request(), 0, &envelope);
        header.api_key = key;
    }
    frames[count++] = msg_encode_buf(desc_request_header(), 0, &header);
    frames[count++] = msg_encode_buf(api->request(), 0, body);
    struct ctl_event event = {.kind = CTL_REQUEST};
    event.u.request.listener = LISTENER_CONTROLLER;
    event.u.request.from = buf_copy(bytes_str("x"));
    event.u.request.frames = frames;
    event.u.request.count = count;
    event.u.request.peer = "";
    run(w, &event);
}

static void
register_and_unfence(struct world *w, int32_t id, uint8_t incarnation)
{
    struct endpoint endpoints[] = {
        {.listener = bytes_str("client"), .host = bytes_str("h"), .port = 1},
        {.listener = bytes_str("node"), .host = bytes_str("h"), .port = 2}};
    struct folder_state folder = {.disk_id = {{(uint8_t)id}}};
    struct register_broker_request request = {.broker_id = id,
                                              .incarnation = {{incarnation}},
                                              .endpoints = endpoints,
                                              .endpoints_count = 2,
                                              .folders = &folder,
                                              .folders_count = 1};
    ask(w, API_REGISTER_BROKER, &request);
    const struct broker_record *broker = image_broker(ctl_image(w->ctl), id);
    assert_non_null(broker);
    struct broker_heartbeat_request heartbeat = {
        .status = {.broker_id = id,
                   .broker_epoch = broker->broker_epoch,
                   .incarnation = request.incarnation,
                   .applied_version = broker->broker_epoch}};
    ask(w, API_BROKER_HEARTBEAT, &heartbeat);
    assert_false(image_broker(ctl_image(w->ctl), id)->fenced);
}

static void
create(struct world *w, const char *name, int32_t partitions)
{
    struct create_topic_request request = {
        .topic_name = bytes_str(name), .partition_count = partitions, .replication_factor = -1};
    ask(w, API_CREATE_TOPIC, &request);
}

static void
a_restart_after_every_entry_loses_nothing(void **state)
{
    (void)state;
    struct world w = {.kv = open_store(true), .ctl = new_core()};
    struct delete_topic_request gone = {.topic_name = bytes_str("b")};
    run(&w, &(struct ctl_event){.kind = CTL_STARTED});
    register_and_unfence(&w, 1, 1);
    register_and_unfence(&w, 2, 1);
    create(&w, "a", 3);
    create(&w, "b", 100);
    register_and_unfence(&w, 1, 2);
    create(&w, "c", 1);
    create(&w, "c", 1); /* refused: no entry */
    ask(&w, API_DELETE_TOPIC, &gone);
    struct allocate_producer_ids_request ids = {
        .broker_id = 1, .broker_epoch = image_broker(ctl_image(w.ctl), 1)->broker_epoch};
    ask(&w, API_ALLOCATE_PRODUCER_IDS, &ids);
    register_and_unfence(&w, 2, 2);
    printf("%" PRId64 " entries, %" PRId64 " restarts, %" PRId64 " answers\n",
           image_version(ctl_image(w.ctl)), w.restarts, w.replies);
    assert_int_equal(w.restarts, image_version(ctl_image(w.ctl)));
    assert_int_equal(w.restarts, 14);
    assert_int_equal(w.replies, 14);
    assert_int_equal(image_topic_count(ctl_image(w.ctl)), 2);
    w.kv->ops->close(w.kv);
    ctl_free(w.ctl);
    ctl_effects_deinit(&w.effects);
}

/* The example of FORMAT.md. */
static void
the_first_entry_is_as_documented(void **state)
{
    (void)state;
    static const uint8_t documented[] = {
        0x93, 0x01, 0x01, 0x91, 0xc4, 0x16,       /* version 1, term 1, one record of 22 bytes */
        0x93, 0x01, 0x00, 0x91, 0xc4, 0x10, 0x02, /* CLUSTER, version 0, its id: 02 00 00 ... */
        0,    0,    0,    0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0};
    int64_t version = 0;
    struct world w = {.ctl = new_core()};
    struct mem_kv mem;
    struct buf *entry = step(&w, &(struct ctl_event){.kind = CTL_STARTED}, &version);
    assert_int_equal(version, 1);
    assert_int_equal(entry->size, sizeof(documented));
    assert_memory_equal(entry->data, documented, sizeof(documented));
    mem_kv_init(&mem);
    assert_int_equal(ctl_store_append(&mem.kv, version, buf_bytes(entry)), DMQ_OK);
    assert_int_equal(mem.rows[0].key_size, 12);
    assert_memory_equal(mem.rows[0].key, "log/\0\0\0\0\0\0\0\1", 12);
    mem_kv_deinit(&mem);
    buf_unref(entry);
    ctl_free(w.ctl);
    ctl_effects_deinit(&w.effects);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(entries_come_back_in_order),
        T(an_error_of_the_reader_ends_it),
        T(a_missing_store_is_made_only_on_request),
        T(holes_and_strange_keys_are_damage),
        T(a_restart_after_every_entry_loses_nothing),
        T(the_first_entry_is_as_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
