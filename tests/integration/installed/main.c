/* A program outside the tree: built against an installed libdmq, it sends a record and reads it. */
#include <stdio.h>
#include <string.h>

#include <dmq/dmq.h>

#define TIMEOUT_MS 10000

static int
fail(const char *what, const dmq_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, dmq_error_name(error->code), error->message);
    return 1;
}

static int
send_one(dmq_client *client, dmq_error *error, dmq_delivery *ret_delivery)
{
    dmq_producer *producer;
    dmq_record record;
    memset(&record, 0, sizeof(record));
    record.size = sizeof(record);
    record.partition = DMQ_PARTITION_AUTO;
    record.value.data = "hello";
    record.value.size = 5;
    if (dmq_producer_open(client, NULL, 0, &producer, error) != DMQ_OK) {
        return fail("producer", error);
    }
    dmq_err err =
        dmq_producer_send_wait(producer, "installed", &record, TIMEOUT_MS, ret_delivery, error);
    dmq_producer_close(producer);
    return err == DMQ_OK ? 0 : fail("send", error);
}

static int
read_one(dmq_client *client, const dmq_delivery *delivery, dmq_error *error)
{
    dmq_consumer *consumer;
    dmq_batch *batch = NULL;
    dmq_assignment from;
    size_t stride;
    memset(&from, 0, sizeof(from));
    from.size = sizeof(from);
    from.topic = "installed";
    from.partition = delivery->partition;
    from.offset = delivery->offset;
    if (dmq_consumer_open(client, NULL, 0, &consumer, error) != DMQ_OK) {
        return fail("consumer", error);
    }
    dmq_err err = dmq_consumer_assign(consumer, &from, sizeof(from), 1, TIMEOUT_MS, error);
    if (err == DMQ_OK) {
        err = dmq_consumer_fetch(consumer, TIMEOUT_MS, &batch, error);
    }
    dmq_consumer_close(consumer);
    if (err != DMQ_OK) {
        return fail("fetch", error);
    }
    const dmq_message *message = dmq_batch_messages(batch, &stride);
    printf("%.*s at %lld\n", (int)message->value.size, (const char *)message->value.data,
           (long long)message->offset);
    dmq_batch_unref(batch);
    return 0;
}

int
main(void)
{
    dmq_error error = {sizeof(error), DMQ_OK, 0, ""};
    dmq_client *client;
    dmq_delivery delivery;
    if (dmq_client_open(NULL, NULL, 0, TIMEOUT_MS, &client, &error) != DMQ_OK) {
        return fail("open", &error);
    }
    if (dmq_topic_create(client, "installed", 1, 1, NULL, 0, TIMEOUT_MS, &error) != DMQ_OK &&
        error.code != DMQ_ERR_TOPIC_EXISTS) {
        return fail("create", &error);
    }
    int rc = send_one(client, &error, &delivery);
    if (rc == 0) {
        rc = read_one(client, &delivery, &error);
    }
    dmq_client_close(client);
    return rc;
}
