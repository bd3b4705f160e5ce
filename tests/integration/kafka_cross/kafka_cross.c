/* What our code makes of record batches, in the words that KafkaCross.java uses for Kafka's own
 * client:
 *
 *   kafka_cross build CASES FOLDER   writes each batch of CASES to FOLDER/NAME.batch
 *   kafka_cross read FILE...         prints the batches of the files, or the error of each
 *   kafka_cross murmur2 KEYS         prints the hash of each key of the file
 *
 * The form of the lines is explained in kafka_cross.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdmq/wire/batch_build.h"
#include "libdmq/wire/batch_read.h"
#include "libdmq/wire/murmur2.h"

enum { MAX_WORDS = 64 };

static const char *const compressions[] = {"none", "gzip", "snappy", "lz4", "zstd"};

_Noreturn static void
die(const char *what, const char *detail)
{
    fprintf(stderr, "kafka_cross: %s: %s\n", what, detail);
    exit(1);
}

static FILE *
open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

/* In place: hex digits become bytes. "null" is null, "-" is empty. */
static struct bytes
unhex(char *text)
{
    size_t size = strlen(text) / 2;
    uint8_t *to = (uint8_t *)text;
    if (strcmp(text, "null") == 0) {
        return (struct bytes){NULL, 0};
    }
    if (strcmp(text, "-") == 0) {
        return bytes_of(text, 0);
    }
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        to[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return bytes_of(text, size);
}

static void
print_hex(struct bytes bytes)
{
    if (bytes.data == NULL || bytes.size == 0) {
        printf("%s", bytes.data == NULL ? "null" : "-");
        return;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        putchar("0123456789abcdef"[bytes.data[i] >> 4]);
        putchar("0123456789abcdef"[bytes.data[i] & 15]);
    }
}

static int
split(char *line, char *words[MAX_WORDS])
{
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL;
         word = strtok_r(NULL, " \n", &rest)) {
        if (count == MAX_WORDS) {
            die("too many words", word);
        }
        words[count++] = word;
    }
    return count;
}

static uint16_t
compression_of(const char *name)
{
    for (uint16_t i = 0; i < sizeof(compressions) / sizeof(compressions[0]); i++) {
        if (strcmp(name, compressions[i]) == 0) {
            return i;
        }
    }
    die("unknown compression", name);
}

/* words: record TIMESTAMP KEY VALUE [KEY=VALUE]... */
static void
append(struct batch_builder *builder, char *words[MAX_WORDS], int count)
{
    struct record_header headers[MAX_WORDS];
    size_t header_count = 0;
    for (int i = 4; i < count; i++) {
        char *value = strchr(words[i], '=');
        *value++ = '\0';
        headers[header_count++] = (struct record_header){unhex(words[i]), unhex(value)};
    }
    dmq_err err = batch_builder_append(builder, strtoll(words[1], NULL, 10), unhex(words[2]),
                                       unhex(words[3]), headers, header_count);
    if (err != DMQ_OK) {
        die("append", err_name(err));
    }
}

static void
finish(struct batch_builder *builder, const struct batch_options *options,
       struct compressor *compressor, const char *path)
{
    struct buf *batch = NULL;
    dmq_err err = batch_builder_finish(builder, options, compressor, &batch);
    if (err != DMQ_OK) {
        die("finish", err_name(err));
    }
    FILE *file = open_file(path, "wb");
    if (fwrite(batch->data, 1, batch->size, file) != batch->size || fclose(file) != 0) {
        die("write", path);
    }
    buf_unref(batch);
}

static void
build(const char *cases, const char *folder)
{
    FILE *file = open_file(cases, "r");
    char *line = NULL;
    size_t capacity = 0;
    char path[4096];
    struct batch_options options = BATCH_DEFAULT_OPTIONS;
    struct batch_builder builder;
    struct compressor *compressor = compressor_new();
    batch_builder_init(&builder, 64u << 20);
    while (getline(&line, &capacity, file) > 0) {
        char *words[MAX_WORDS];
        int count = split(line, words);
        if (strcmp(words[0], "batch") == 0) {
            options.attributes = compression_of(words[2]);
            options.producer_id = strtoll(words[3], NULL, 10);
            options.producer_epoch = (int16_t)strtol(words[4], NULL, 10);
            options.base_sequence = (int32_t)strtol(words[5], NULL, 10);
            options.attributes |= strcmp(words[6], "1") == 0 ? BATCH_TRANSACTIONAL : 0;
            snprintf(path, sizeof(path), "%s/%s.batch", folder, words[1]);
        } else if (strcmp(words[0], "record") == 0) {
            append(&builder, words, count);
        } else {
            finish(&builder, &options, compressor, path);
        }
    }
    free(line);
    fclose(file);
    batch_builder_deinit(&builder);
    compressor_free(compressor);
}

static void
print_record(const struct batch_record *record)
{
    struct bytes headers = record->headers;
    struct record_header header;
    int32_t count = 0;
    printf("record %" PRId64 " %" PRId64 " ", record->offset, record->timestamp);
    print_hex(record->key);
    printf(" ");
    print_hex(record->value);
    while (batch_headers_next(&headers, &header)) {
        printf(" ");
        print_hex(header.key);
        printf("=");
        print_hex(header.value);
        count++;
    }
    if (count != record->header_count) {
        die("headers", "not as many as the record says");
    }
    printf("\n");
}

static dmq_err
read_batch(struct batch_reader *reader, struct bytes batch, struct err_msg *msg)
{
    const struct batch_limits limits = {.from_client = false};
    struct batch_header header;
    struct batch_record record;
    dmq_err err = batch_check(batch, &limits, msg, &header);
    if (err == DMQ_OK) {
        err = batch_reader_open(reader, batch, msg);
    }
    if (err != DMQ_OK) {
        return err;
    }
    printf("batch %" PRId64 " %" PRId64 " %s %" PRId64 " %d %" PRId32 " %d%d%d %" PRId64 " %" PRId32
           "\n",
           header.base_offset, batch_last_offset(&header), compressions[batch_compression(&header)],
           header.producer_id, header.producer_epoch, header.base_sequence,
           (header.attributes & BATCH_TRANSACTIONAL) != 0, (header.attributes & BATCH_CONTROL) != 0,
           (header.attributes & BATCH_LOG_APPEND_TIME) != 0, header.max_timestamp, header.count);
    while (batch_reader_next(reader, &record)) {
        print_record(&record);
    }
    return batch_reader_result(reader, msg);
}

static void
read_file(struct batch_reader *reader, const char *path)
{
    FILE *file = open_file(path, "rb");
    const char *slash = strrchr(path, '/');
    struct outbuf contents = {0};
    struct bytes batch;
    struct err_msg msg;
    uint8_t *to;
    size_t size;
    printf("file %s\n", slash == NULL ? path : slash + 1);
    do {
        to = outbuf_reserve(&contents, 65536);
        size = to == NULL ? 0 : fread(to, 1, 65536, file);
        contents.size += size;
    } while (size > 0);
    fclose(file);
    struct bytes rest = {contents.data, contents.size};
    dmq_err err = DMQ_OK;
    while (err == DMQ_OK) {
        err = batch_next(&rest, &batch);
        err = err == DMQ_OK ? read_batch(reader, batch, &msg) : err;
    }
    if (err != DMQ_ERR_END) {
        printf("error %s\n", err_name(err));
    }
    outbuf_deinit(&contents);
}

static void
hash_keys(const char *keys)
{
    FILE *file = open_file(keys, "r");
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        printf("%" PRId32 "\n", murmur2(unhex(line)));
    }
    free(line);
    fclose(file);
}

int
main(int argc, char **argv)
{
    const struct decode_limits limits = COMPRESS_DEFAULT_LIMITS;
    if (argc == 4 && strcmp(argv[1], "build") == 0) {
        build(argv[2], argv[3]);
    } else if (argc == 3 && strcmp(argv[1], "murmur2") == 0) {
        hash_keys(argv[2]);
    } else if (argc > 2 && strcmp(argv[1], "read") == 0) {
        struct batch_reader reader;
        batch_reader_init(&reader, &limits);
        for (int i = 2; i < argc; i++) {
            read_file(&reader, argv[i]);
        }
        batch_reader_deinit(&reader);
    } else {
        die("usage", "build CASES FOLDER | read FILE... | murmur2 KEYS");
    }
    return 0;
}
