/* PROTOCOL.md holds what the one table says: this program writes the part of the document between
 * the two markers, or checks that it is what it would write.
 *
 *     protocol_doc FILE            0 if the part is up to date
 *     protocol_doc --write FILE    brings it up to date */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/base/assert.h"
#include "libdmq/base/buf.h"
#include "libdmq/base/err.h"
#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/desc.h"

#define BEGIN "<!-- generated: begin -->\n"
#define END "<!-- generated: end -->\n"
#define MOST_STRUCTS 256
#define MOST_BYTES (4u << 20)

/* ---- text ------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void
put(struct outbuf *out, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    DMQ_ASSERT(size >= 0 && (size_t)size < sizeof(line));
    outbuf_put(out, line, (size_t)size);
}

static void
put_hex(struct outbuf *out, struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        put(out, "%s%02x", i == 0 ? "" : i % 32 == 0 ? "\n" : i % 4 == 0 ? " " : "", bytes.data[i]);
    }
    put(out, "\n");
}

/* ---- structs --------------------------------------------------------------------------------- */

/* Those that have a table already. */
struct described {
    const struct struct_desc *descs[MOST_STRUCTS];
    size_t count;
};

static bool
is_new(struct described *described, const struct struct_desc *desc)
{
    for (size_t i = 0; i < described->count; i++) {
        if (described->descs[i] == desc) {
            return false;
        }
    }
    DMQ_ASSERT(described->count < MOST_STRUCTS);
    described->descs[described->count++] = desc;
    return true;
}

static void
put_type(struct outbuf *out, const struct field_desc *field)
{
    put(out, field->list ? "[" : "");
    if (field->kind == KIND_struct) {
        put(out, "[%s](#%s)", field->sub()->name, field->sub()->name);
    } else {
        put(out, "%s", kind_name(field->kind));
    }
    put(out, field->list ? "]" : "");
    if (field->limit > 0) {
        put(out, " up to %" PRIu32, field->limit);
    }
}

/* A table of its fields, then those of the structs inside that have none yet. */
static void
put_struct(struct outbuf *out, struct described *described, const struct struct_desc *desc)
{
    if (!is_new(described, desc)) {
        return;
    }
    put(out, "#### %s\n", desc->name);
    put(out, "%s%s", desc->doc, desc->doc[0] != '\0' ? "\n" : "");
    if (desc->field_count > 0) {
        put(out, "\n| # | field | type | meaning |\n|---|---|---|---|\n");
    }
    for (size_t i = 0; i < desc->field_count; i++) {
        const struct field_desc *field = &desc->fields[i];
        put(out, "| %zu | %s | ", i, field->name);
        put_type(out, field);
        put(out, " | %s", field->doc);
        if (field->since > 0) {
            put(out, " (from version %d on)", field->since);
        }
        put(out, " |\n");
    }
    put(out, "\n");
    for (size_t i = 0; i < desc->field_count; i++) {
        if (desc->fields[i].kind == KIND_struct) {
            put_struct(out, described, desc->fields[i].sub());
        }
    }
}

/* ---- calls, records, errors ------------------------------------------------------------------ */

static void
put_listeners(struct outbuf *out, unsigned listeners)
{
    const char *const names[] = {"a broker's client port", "a broker's node port",
                                 "a controller's port"};
    const unsigned bits[] = {LISTENER_CLIENT, LISTENER_NODE, LISTENER_CONTROLLER};
    const char *comma = "";
    for (size_t i = 0; i < 3; i++) {
        if ((listeners & bits[i]) != 0) {
            put(out, "%s%s", comma, names[i]);
            comma = ", ";
        }
    }
}

/* The anchor of a heading, as Markdown viewers make it. */
static const char *
anchor(const char *heading, char text[64])
{
    size_t size = strlen(heading);
    DMQ_ASSERT(size < 64);
    for (size_t i = 0; i <= size; i++) {
        char c = heading[i];
        text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return text;
}

static void
put_call_list(struct outbuf *out)
{
    char to[64];
    put(out, "## Calls\n\n| key | call | versions | answered on |\n|---|---|---|---|\n");
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_desc *api = &api_table[i];
        put(out, "| %d | [%s](#%s) | %d to %d | ", api->key, api->name, anchor(api->name, to),
            api->min_version, api->max_version);
        put_listeners(out, api->listeners);
        put(out, " |\n");
    }
    put(out, "\n");
}

static void
put_calls(struct outbuf *out, struct described *described)
{
    put_call_list(out);
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_desc *api = &api_table[i];
        put(out, "### %s\nKey %d. %s\n\n", api->name, api->key, api->doc);
        put_struct(out, described, api->request());
        put_struct(out, described, api->response());
    }
}

static void
put_records(struct outbuf *out, struct described *described)
{
    put(out, "## Metadata records\n\nIn the metadata log, in pushes and as rows of stores, each as "
             "`[type, version, fields]`. A reader that does not know a type\nor version stops, and "
             "never skips it.\n\n| type | record | version | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < record_table_count; i++) {
        const struct record_desc *record = &record_table[i];
        put(out, "| %" PRId32 " | [%s](#%s) | %" PRId32 " | %s |\n", record->type, record->name,
            record->body()->name, record->version, record->doc);
    }
    put(out, "\n");
    for (size_t i = 0; i < record_table_count; i++) {
        put_struct(out, described, record_table[i].body());
    }
}

static const char *
class_text(int32_t class)
{
    switch (class) {
    case DMQ_CLASS_RETRIABLE:
        return "retriable";
    case DMQ_CLASS_FATAL:
        return "fatal";
    case DMQ_CLASS_MAYBE_DONE:
        return "maybe done";
    case DMQ_CLASS_ABORT:
        return "abort";
    default:
        return "";
    }
}

static void
put_errors(struct outbuf *out)
{
    static const dmq_err numbers[] = {
#define NUMBER(name, number, class, text) number,
        DMQ_ERROR_MAP(NUMBER)
#undef NUMBER
    };
    put(out, "## Errors\n\n*retriable*: surely not done, the same call may succeed later. *fatal*: "
             "surely not done, the same call will fail again.\n*maybe done*: only an idempotent "
             "retry is safe. Some of the numbers from 1000 on arise in libraries only.\n\n"
             "| number | name | class | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        put(out, "| %" PRId32 " | %s | %s | %s |\n", numbers[i], err_name(numbers[i]),
            class_text(err_class(numbers[i])), err_text(numbers[i]));
    }
    put(out, "\n");
}

/* ---- examples: made by the very codecs ------------------------------------------------------- */

static void
put_frame(struct outbuf *out, const char *title, const struct struct_desc *desc, const void *msg)
{
    struct outbuf frame = {0};
    msg_encode(desc, 0, msg, &frame);
    DMQ_ASSERT(!frame.failed);
    put(out, "%s\n```\n", title);
    put_hex(out, bytes_of(frame.data, frame.size));
    put(out, "```\n");
    outbuf_deinit(&frame);
}

static void
put_batch(struct outbuf *out)
{
    struct batch_builder builder;
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    struct buf *batch = NULL;
    options.producer_id = 1000;
    options.producer_epoch = 0;
    options.base_sequence = 0;
    batch_builder_init(&builder, 4096);
    dmq_err err =
        batch_builder_append(&builder, 1700000000000, bytes_str("k"), bytes_str("hello"), NULL, 0);
    DMQ_ASSERT(err == DMQ_OK);
    err = batch_builder_append(&builder, 1700000000001, (struct bytes){0}, bytes_str("world"), NULL,
                               0);
    DMQ_ASSERT(err == DMQ_OK);
    err = batch_builder_finish(&builder, &options, NULL, &batch);
    DMQ_ASSERT(err == DMQ_OK);
    put(out,
        "A batch of two records, as a producer sends it: key `k` and value `hello` at "
        "1700000000000; no key and value `world` a\nmillisecond later; producer 1000, epoch 0, "
        "sequence 0.\n```\n");
    put_hex(out, buf_bytes(batch));
    put(out, "```\n");
    buf_unref(batch);
    batch_builder_deinit(&builder);
}

static void
put_examples(struct outbuf *out)
{
    const struct request_header header = {.protocol = WIRE_PROTOCOL,
                                          .api_key = API_METADATA,
                                          .correlation_id = 7,
                                          .client_id = bytes_str("me"),
                                          .time_left_ms = 30000};
    struct bytes names[] = {bytes_str("orders")};
    const struct metadata_request request = {.names = names,
                                             .names_count = 1,
                                             .dialled_host = bytes_str("127.0.0.1"),
                                             .dialled_port = 9501};
    const struct response_header refusal = {.correlation_id = 7,
                                            .error = DMQ_ERR_THROTTLED,
                                            .throttle_ms = 100,
                                            .metadata_version = 12,
                                            .message = bytes_str("slow down")};
    put(out, "## Examples\n\n");
    put_frame(out, "Header of a METADATA request, correlation id 7, client `me`, 30 s left:",
              desc_request_header(), &header);
    put_frame(out,
              "Its body, for the topic `orders`, sent to 127.0.0.1:9501:", desc_metadata_request(),
              &request);
    put_frame(out, "A response that is only a header, for it refuses the request:",
              desc_response_header(), &refusal);
    put_batch(out);
}

static void
generate(struct outbuf *out)
{
    static struct described described;
    put(out, BEGIN);
    put(out, "## Headers\n\n");
    put_struct(out, &described, desc_request_header());
    put_struct(out, &described, desc_response_header());
    put_calls(out, &described);
    put_records(out, &described);
    put_errors(out);
    put_examples(out);
    put(out, END);
    DMQ_ASSERT(!out->failed);
}

/* ---- the file -------------------------------------------------------------------------------- */

static bool
read_file(const char *path, struct outbuf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    char chunk[4096];
    for (size_t n = 1; n > 0 && out->size < MOST_BYTES;) {
        n = fread(chunk, 1, sizeof(chunk), file);
        outbuf_put(out, chunk, n);
    }
    fclose(file);
    outbuf_put(out, "", 1); /* a text */
    return !out->failed;
}

static bool
write_file(const char *path, struct bytes before, struct bytes part, struct bytes after)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    bool ok = fwrite(before.data, 1, before.size, file) == before.size &&
              fwrite(part.data, 1, part.size, file) == part.size &&
              fwrite(after.data, 1, after.size, file) == after.size;
    return fclose(file) == 0 && ok;
}

/* 0 if the document is, or now is, as it should be. */
static int
bring_up_to_date(const char *path, bool write)
{
    struct outbuf old = {0};
    struct outbuf made = {0};
    int result = 1;
    if (!read_file(path, &old)) {
        return 1;
    }
    generate(&made);
    const char *text = (const char *)old.data;
    const char *begin = strstr(text, BEGIN);
    const char *end = strstr(text, END);
    if (begin == NULL || end == NULL || end < begin) {
        fprintf(stderr, "%s: the markers of the generated part are missing\n", path);
        goto out;
    }
    end += strlen(END);
    struct bytes part = bytes_of(made.data, made.size);
    if (bytes_equal(bytes_of(begin, (size_t)(end - begin)), part)) {
        result = 0;
    } else if (write) {
        result =
            write_file(path, bytes_of(text, (size_t)(begin - text)), part, bytes_str(end)) ? 0 : 1;
    } else {
        fprintf(stderr,
                "%s differs from the message table: run bin/protocol_doc --write %s in the build "
                "folder\n",
                path, path);
    }
out:
    outbuf_deinit(&old);
    outbuf_deinit(&made);
    return result;
}

int
main(int argc, char **argv)
{
    bool write = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 2 && !write) {
        fprintf(stderr, "usage: protocol_doc [--write] FILE\n");
        return 2;
    }
    return bring_up_to_date(argv[argc - 1], write);
}
