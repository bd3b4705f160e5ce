/* Opening, options, interrupts, fork, admin by JSON. */
#include "tests/unit/libdmq/api/fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void
test_nobody_listens(void **state)
{
    dmq_client *client = NULL;
    dmq_error error = {.size = sizeof(error)};
    (void)state;
    assert_int_equal(dmq_client_open("dmq://127.0.0.1:1", NULL, 0, TIMEOUT_MS, &client, &error),
                     DMQ_ERR_UNREACHABLE);
    assert_null(client);
    assert_string_equal(error.message,
                        "cannot reach any broker of dmq://127.0.0.1:1: connection refused by "
                        "127.0.0.1:1 (is the cluster running? `dmq dev` starts one)");
    assert_int_equal(dmq_client_open("dmq://127.0.0.1:1", NULL, 0, 100, &client, &error),
                     DMQ_ERR_UNREACHABLE); /* also if the time is over before that is certain */
    assert_int_equal(
        dmq_client_open("dmq://nosuchhost.invalid", NULL, 0, TIMEOUT_MS, &client, &error),
        DMQ_ERR_UNREACHABLE);
    assert_non_null(strstr(error.message, "nosuchhost.invalid"));
}

static void
test_silent_broker_is_a_timeout(void **state)
{
    dmq_client *client;
    dmq_error error = {.size = sizeof(error)};
    char url[64];
    (void)state;
    struct fake_broker *broker = fake_broker_start();
    fake_broker_fault(broker, (struct fake_fault){
                                  .api_key = API_API_VERSIONS, .times = 99, .kind = FAKE_SWALLOW});
    snprintf(url, sizeof(url), "dmq://127.0.0.1:%d", (int)fake_broker_port(broker));
    assert_int_equal(dmq_client_open(url, NULL, 0, 200, &client, &error), DMQ_ERR_TIMEOUT);
    assert_non_null(strstr(error.message, "no answer from 127.0.0.1:"));
    fake_broker_stop(broker);
}

static void
test_waits_for_a_cluster_that_starts(void **state)
{
    struct fixture f;
    dmq_client *client;
    char url[128];
    (void)state;
    set_up(&f);
    /* A second address where nobody listens does no harm. */
    snprintf(url, sizeof(url), "dmq://127.0.0.1:1,127.0.0.1:%d", (int)fake_broker_port(f.broker));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dmq_client_open(url, NULL, 0, TIMEOUT_MS, &client, &f.error), DMQ_OK);
        dmq_client_close(client);
    }
    tear_down(&f);
}

static void
test_url_from_the_environment(void **state)
{
    struct fixture f;
    dmq_client *client;
    (void)state;
    set_up(&f);
    setenv("DMQ_URL", f.url, 1);
    assert_int_equal(dmq_client_open(NULL, NULL, 0, TIMEOUT_MS, &client, &f.error), DMQ_OK);
    dmq_client_close(client);
    unsetenv("DMQ_URL");
    tear_down(&f);
}

static void
test_options_of_handles(void **state)
{
    struct fixture f;
    dmq_client *client;
    dmq_option client_id = {"client.id", "me"};
    dmq_option bad = {"lnger.ms", "5"};
    (void)state;
    set_up(&f);
    assert_int_equal(dmq_client_open(f.url, &client_id, 1, TIMEOUT_MS, &client, &f.error), DMQ_OK);
    dmq_client_close(client);
    assert_int_equal(dmq_client_open(f.url, &bad, 1, TIMEOUT_MS, &client, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message,
                        "a producer has no option 'lnger.ms' (did you mean 'linger.ms'?)");
    bad = (dmq_option){"linger", "5"};
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message,
                        "a producer has no option 'linger' (did you mean 'linger.ms'?)");
    bad = (dmq_option){"compresion", "lz4"};
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message, "a producer has no option 'compresion' (did you mean "
                                         "'compression.type'?)");
    bad = (dmq_option){"xyz", "5"};
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message, "a producer has no option 'xyz'");
    bad = (dmq_option){"linger.ms", "-1"};
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message, "linger.ms=-1: it should be a number from 0 to 900000");
    bad = (dmq_option){"acks", "2"};
    assert_int_equal(dmq_producer_open(f.client, &bad, 1, &f.producer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(f.error.message, "acks=2: it should be one of all, -1, 1, 0");
    bad = (dmq_option){"check.crcs", "yes"};
    assert_int_equal(dmq_consumer_open(f.client, &bad, 1, &f.consumer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    bad = (dmq_option){NULL, "yes"};
    assert_int_equal(dmq_consumer_open(f.client, &bad, 1, &f.consumer, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_error_struct_of_another_size(void **state)
{
    dmq_client *client;
    struct {
        dmq_error error;
        char guard[8];
    } small;
    (void)state;
    memset(&small, 'x', sizeof(small));
    small.error.size = offsetof(dmq_error, message) + 10;
    assert_int_equal(dmq_client_open("http://x", NULL, 0, 0, &client, &small.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_string_equal(small.error.message, "'http://x");
    assert_int_equal(small.error.message[10], 'x');
    small.error.size = 0;
    small.error.code = 77;
    assert_int_equal(dmq_client_open("http://x", NULL, 0, 0, &client, &small.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(small.error.code, 77);
    assert_int_equal(dmq_client_open("http://x", NULL, 0, 0, &client, NULL),
                     DMQ_ERR_INVALID_ARGUMENT);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static dmq_client *interrupted_client;

static void
on_alarm(int number)
{
    (void)number;
    dmq_client_interrupt(interrupted_client);
}

static void
test_interrupt_from_a_signal_handler(void **state)
{
    struct fixture f;
    dmq_batch *batch;
    struct sigaction action = {.sa_handler = on_alarm};
    (void)state;
    set_up(&f);
    open_consumer(&f, NULL, NULL);
    interrupted_client = f.client;
    sigaction(SIGALRM, &action, NULL);
    ualarm(20000, 0);
    assert_int_equal(dmq_consumer_fetch(f.consumer, -1, &batch, &f.error), DMQ_ERR_INTERRUPTED);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 20, &batch, &f.error), DMQ_ERR_TIMEOUT);
    /* One that comes while nobody waits is for the next call that does. */
    dmq_client_interrupt(f.client);
    assert_int_equal(dmq_consumer_fetch(f.consumer, -1, &batch, &f.error), DMQ_ERR_INTERRUPTED);
    assert_int_equal(dmq_consumer_fetch(f.consumer, 20, &batch, &f.error), DMQ_ERR_TIMEOUT);
    dmq_client_interrupt(f.client);
    int32_t partitions;
    dmq_err asked = dmq_topic_partitions(f.client, "t", TIMEOUT_MS, &partitions, &f.error);
    if (asked == DMQ_OK) { /* the answer was there before it had to wait: it is still to be felt */
        asked = dmq_consumer_fetch(f.consumer, -1, &batch, &f.error);
    }
    assert_int_equal(asked, DMQ_ERR_INTERRUPTED);
    assert_int_equal(dmq_topic_partitions(f.client, "t", TIMEOUT_MS, &partitions, &f.error),
                     DMQ_OK);
    signal(SIGALRM, SIG_DFL);
    tear_down(&f);
}

/* ---- without blocking ------------------------------------------------------------------------ */

static void
test_start_and_wait(void **state)
{
    struct fixture f;
    dmq_client *client;
    (void)state;
    set_up(&f);
    assert_int_equal(dmq_client_start("http://x", NULL, 0, &client, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    fake_broker_down(f.broker);
    assert_int_equal(dmq_client_start(f.url, NULL, 0, &client, &f.error), DMQ_OK);
    assert_int_equal(dmq_client_wait(client, TIMEOUT_MS, &f.error), DMQ_ERR_UNREACHABLE);
    dmq_client_interrupt(client);
    fake_broker_up(f.broker);
    dmq_err err = DMQ_ERR_UNREACHABLE;
    for (int i = 0; i < 1000 && err != DMQ_OK; i++) { /* interrupted, unreachable, then there */
        err = dmq_client_wait(client, 20, &f.error);
        usleep(1000);
    }
    assert_int_equal(err, DMQ_OK);
    assert_int_equal(dmq_client_wait(client, 0, &f.error), DMQ_OK);
    assert_int_equal(dmq_client_wait(NULL, 0, &f.error), DMQ_ERR_INVALID_ARGUMENT);
    dmq_client_close(client);
    tear_down(&f);
}

static void
test_a_topic_is_prepared(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    dmq_record record = record_of(0, "x");
    assert_int_equal(dmq_producer_prepare(f.producer, "t", 0, &f.error), DMQ_ERR_BUFFER_FULL);
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, 0, &f.error), DMQ_ERR_BUFFER_FULL);
    assert_int_equal(dmq_producer_prepare(f.producer, "t", TIMEOUT_MS, &f.error), DMQ_OK);
    assert_int_equal(dmq_producer_prepare(f.producer, "t", 0, &f.error), DMQ_OK);
    assert_int_equal(dmq_producer_send(f.producer, "t", &record, 0, &f.error), DMQ_OK);
    assert_int_equal(dmq_producer_prepare(f.producer, "u", TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(dmq_producer_prepare(f.producer, "/", TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_TOPIC);
    assert_int_equal(dmq_producer_prepare(f.producer, NULL, 0, &f.error), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_producer_flush(f.producer, TIMEOUT_MS, NULL, &f.error), DMQ_OK);
    tear_down(&f);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static int
in_child(struct fixture *f)
{
    dmq_batch *batch;
    dmq_record record = record_of(0, "x");
    dmq_error error = {.size = sizeof(error)};
    if (dmq_producer_send(f->producer, "t", &record, 0, &error) != DMQ_ERR_FORKED ||
        dmq_producer_flush(f->producer, -1, NULL, &error) != DMQ_ERR_FORKED ||
        dmq_consumer_fetch(f->consumer, -1, &batch, &error) != DMQ_ERR_FORKED ||
        dmq_topic_delete(f->client, "t", -1, &error) != DMQ_ERR_FORKED ||
        dmq_client_fd(f->client) != -1) {
        return 1;
    }
    dmq_consumer_close(f->consumer);
    dmq_producer_close(f->producer);
    dmq_client_close(f->client);
    dmq_client *client;
    if (dmq_client_open(f->url, NULL, 0, TIMEOUT_MS, &client, &error) != DMQ_OK) {
        return 2;
    }
    dmq_client_close(client);
    return 0;
}

static void
test_fork_is_noticed(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer ends a child that starts threads */
#endif
    struct fixture f;
    int status;
    (void)state;
    set_up(&f);
    open_producer(&f, NULL, NULL);
    open_consumer(&f, NULL, NULL);
    pid_t child = fork();
    if (child == 0) {
        _exit(in_child(&f));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    send_numbers(&f, 0, 10); /* the parent's is untouched */
    expect_numbers(&f, 0, 10);
    tear_down(&f);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void
test_signals_are_blocked_in_the_thread(void **state)
{
    struct fixture f;
    sigset_t mine;
    char line[256];
    char path[64];
    uint64_t blocked = 0;
    (void)state;
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    set_up(&f);
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", task->d_name);
        FILE *file = fopen(path, "r");
        bool ours = false;
        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            ours = ours || strstr(line, "dmq-client") != NULL;
            if (ours && strncmp(line, "SigBlk:", 7) == 0) {
                blocked = strtoull(line + 7, NULL, 16);
            }
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    closedir(tasks);
    assert_true((blocked & (UINT64_C(1) << (SIGUSR1 - 1))) != 0);
    assert_true((blocked & (UINT64_C(1) << (SIGTERM - 1))) != 0);
    tear_down(&f);
}

struct lines {
    pthread_mutex_t lock;
    int count;
    char last[256];
};

static void
keep_line(void *arg, int32_t level, const char *line)
{
    struct lines *lines = arg;
    pthread_mutex_lock(&lines->lock);
    lines->count += level >= 0 && level <= 3;
    snprintf(lines->last, sizeof(lines->last), "%s", line);
    pthread_mutex_unlock(&lines->lock);
}

static void
test_log_goes_to_the_application(void **state)
{
    struct fixture f;
    struct lines lines = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct timespec pause = {.tv_nsec = 1000000};
    (void)state;
    set_up(&f);
    dmq_client_set_log(f.client, keep_line, &lines);
    fake_broker_down(f.broker);
    int count = 0;
    for (int i = 0; i < TIMEOUT_MS && count == 0; i++) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lines.lock);
        count = lines.count;
        pthread_mutex_unlock(&lines.lock);
    }
    assert_true(count > 0);
    dmq_client_set_log(f.client, NULL, NULL);
    fake_broker_up(f.broker);
    tear_down(&f);
}

static void
test_admin_by_json(void **state)
{
    struct fixture f;
    char *json = NULL;
    (void)state;
    set_up(&f);
    assert_int_equal(dmq_admin(f.client, "create_topic",
                               "{\"topicName\":\"orders\",\"partitionCount\":2,"
                               "\"config\":{\"durability\":\"async\"}}",
                               TIMEOUT_MS, &json, &f.error),
                     DMQ_OK);
    assert_non_null(strstr(json, "\"topicName\":\"orders\""));
    assert_non_null(strstr(json, "\"partitionCount\":2"));
    dmq_free(json);
    assert_int_equal(
        dmq_admin(f.client, "create_topic", "{\"topicNam\":\"x\"}", TIMEOUT_MS, &json, &f.error),
        DMQ_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(f.error.message, "topicName"));
    assert_int_equal(dmq_admin(f.client, "create_topic", "nonsense", TIMEOUT_MS, &json, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_admin(f.client, "metadata", NULL, TIMEOUT_MS, &json, &f.error), DMQ_OK);
    assert_non_null(strstr(json, "\"brokerId\":101"));
    dmq_free(json);
    assert_int_equal(dmq_admin(f.client, "delete_topic", "{\"topicName\":\"ordes\"}", TIMEOUT_MS,
                               &json, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(strstr(f.error.message, "did you mean 'orders'?"));
    assert_int_equal(dmq_admin(f.client, "delete_topic", "{\"topicName\":\"orders\"}", TIMEOUT_MS,
                               &json, &f.error),
                     DMQ_OK);
    assert_non_null(strstr(json, "\"topicId\":\""));
    dmq_free(json);
    assert_int_equal(dmq_admin(f.client, "delet_topic", "{}", TIMEOUT_MS, &json, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(f.error.message, "did you mean 'delete_topic'?"));
    assert_int_equal(dmq_admin(f.client, NULL, "{}", TIMEOUT_MS, &json, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_a_topic_is_altered(void **state)
{
    struct fixture f;
    char *json = NULL;
    (void)state;
    set_up(&f);
    fake_broker_topic(f.broker, "orders", 1);
    assert_int_equal(dmq_admin(f.client, "alter_topic",
                               "{\"topicName\":\"orders\",\"config\":{\"retention.ms\":5,"
                               "\"segment.bytes\":null}}",
                               TIMEOUT_MS, &json, &f.error),
                     DMQ_OK);
    assert_non_null(
        strstr(json, "\"topicName\":\"orders\"")); /* the topic itself, as REST has it */
    assert_non_null(strstr(json, "\"config\":{\"retention.ms\":\"5\"}"));
    dmq_free(json);
    const dmq_option config[] = {{"retention.ms", "5"}, {"segment.bytes", NULL}};
    fake_broker_fault(
        f.broker,
        (struct fake_fault){.api_key = API_ALTER_TOPIC, .times = 1, .kind = FAKE_DONE_DISCONNECT});
    assert_int_equal(dmq_topic_alter(f.client, "orders", config, 2, TIMEOUT_MS, &f.error), DMQ_OK);
    /* One that no broker knows is asked for by name: the controller has the last word. */
    assert_int_equal(dmq_topic_alter(f.client, "payments", config, 2, TIMEOUT_MS, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(fake_broker_requests(f.broker, API_ALTER_TOPIC), 4);
    tear_down(&f);
}

static void
test_a_topic_is_described(void **state)
{
    struct fixture f;
    struct {
        uint32_t size;
        int32_t partitions;
        int32_t other;
    } older = {.size = 2 * sizeof(uint32_t), .other = 77}; /* of a program from before */
    dmq_topic_info info = {.size = sizeof(info)};
    (void)state;
    set_up(&f);
    fake_broker_topic(f.broker, "orders", 3);
    assert_int_equal(dmq_topic_describe(f.client, "orders", TIMEOUT_MS, &info, &f.error), DMQ_OK);
    assert_int_equal(info.size, sizeof(info));
    assert_int_equal(info.partitions, 3);
    assert_int_equal(info.replication_factor, 1);
    assert_int_equal(strlen(info.id), 32);
    assert_int_equal(
        dmq_topic_describe(f.client, "orders", TIMEOUT_MS, (dmq_topic_info *)&older, &f.error),
        DMQ_OK);
    assert_int_equal(older.partitions, 3);
    assert_int_equal(older.other, 77);
    assert_int_equal(dmq_topic_describe(f.client, "ordes", TIMEOUT_MS, &info, &f.error),
                     DMQ_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(strstr(f.error.message, "did you mean 'orders'?"));
    info.size = 0;
    assert_int_equal(dmq_topic_describe(f.client, "orders", TIMEOUT_MS, &info, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_typed_calls_check_their_arguments(void **state)
{
    struct fixture f;
    char long_name[300];
    const dmq_option nameless[] = {{NULL, "5"}};
    const dmq_option valueless[] = {{"retention.ms", NULL}};
    (void)state;
    set_up(&f);
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(dmq_topic_alter(f.client, "a", nameless, 1, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_CONFIG);
    assert_int_equal(dmq_topic_alter(f.client, NULL, NULL, 0, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_topic_alter(f.client, "a", nameless, 65, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_topic_create(f.client, "a", 1, 1, valueless, 1, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_CONFIG);
    assert_int_equal(dmq_topic_create(f.client, "a", 1, 70000, NULL, 0, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_REPLICATION_FACTOR);
    assert_int_equal(dmq_topic_set_partitions(f.client, long_name, 3, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_TOPIC);
    assert_int_equal(dmq_topic_delete(f.client, NULL, TIMEOUT_MS, &f.error),
                     DMQ_ERR_INVALID_ARGUMENT);
    tear_down(&f);
}

static void
test_admin_through_lost_answers(void **state)
{
    struct fixture f;
    (void)state;
    set_up(&f);
    fake_broker_fault(
        f.broker,
        (struct fake_fault){.api_key = API_CREATE_TOPIC, .times = 1, .kind = FAKE_DISCONNECT});
    assert_int_equal(dmq_topic_create(f.client, "a", 1, 1, NULL, 0, TIMEOUT_MS, &f.error), DMQ_OK);
    fake_broker_fault(
        f.broker,
        (struct fake_fault){.api_key = API_DELETE_TOPIC, .times = 1, .kind = FAKE_DONE_DISCONNECT});
    assert_int_equal(dmq_topic_delete(f.client, "a", TIMEOUT_MS, &f.error), DMQ_OK);
    fake_broker_fault(
        f.broker, (struct fake_fault){.api_key = API_CREATE_TOPIC, .times = 1, .kind = FAKE_MUTE});
    assert_int_equal(dmq_topic_create(f.client, "b", 1, 1, NULL, 0, 100, &f.error),
                     DMQ_ERR_TIMEOUT);
    assert_int_equal(f.error.cls, DMQ_CLASS_MAYBE_DONE);
    tear_down(&f);
}

static void
test_errors_are_named(void **state)
{
    (void)state;
    assert_string_equal(dmq_error_name(DMQ_ERR_NOT_LEADER), "NOT_LEADER");
    assert_string_equal(dmq_error_name(123456), "UNKNOWN");
    assert_int_equal(dmq_error_class(DMQ_ERR_TIMEOUT), DMQ_CLASS_MAYBE_DONE);
    assert_non_null(dmq_error_text(DMQ_ERR_NOT_LEADER));
    assert_non_null(dmq_version());
}

static void
test_null_handles(void **state)
{
    dmq_error error = {.size = sizeof(error)};
    (void)state;
    dmq_client_close(NULL);
    dmq_producer_close(NULL);
    dmq_consumer_close(NULL);
    dmq_batch_unref(NULL);
    dmq_free(NULL);
    dmq_client_interrupt(NULL);
    assert_int_equal(dmq_client_fd(NULL), -1);
    assert_int_equal(dmq_producer_open(NULL, NULL, 0, NULL, &error), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_consumer_fetch(NULL, 0, NULL, &error), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(dmq_producer_poll(NULL, NULL, 0, 0, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_silent_broker_is_a_timeout),
        cmocka_unit_test(test_waits_for_a_cluster_that_starts),
        cmocka_unit_test(test_url_from_the_environment),
        cmocka_unit_test(test_options_of_handles),
        cmocka_unit_test(test_error_struct_of_another_size),
        cmocka_unit_test(test_interrupt_from_a_signal_handler),
        cmocka_unit_test(test_start_and_wait),
        cmocka_unit_test(test_a_topic_is_prepared),
        cmocka_unit_test(test_fork_is_noticed),
        cmocka_unit_test(test_signals_are_blocked_in_the_thread),
        cmocka_unit_test(test_log_goes_to_the_application),
        cmocka_unit_test(test_admin_by_json),
        cmocka_unit_test(test_a_topic_is_altered),
        cmocka_unit_test(test_a_topic_is_described),
        cmocka_unit_test(test_typed_calls_check_their_arguments),
        cmocka_unit_test(test_admin_through_lost_answers),
        cmocka_unit_test(test_errors_are_named),
        cmocka_unit_test(test_null_handles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
