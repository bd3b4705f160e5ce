/* A dump goes from header to header by length, so that a batch whose CRC is wrong does not hide
 * those behind it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/log_files.h"
#include "broker/log/log_scan.h"
#include "broker/log/log_text.h"
#include "libdmq/base/assert.h"
#include "libdmq/wire/batch_read.h"

#define DUMP_CHUNK ((size_t)256 << 10)

struct dump {
    struct log_text text;
    struct batch_reader reader;
    int64_t batches;
    int64_t records;
    int64_t bad;
};

static void
tell_bad(struct dump *dump, uint64_t pos, const char *problem)
{
    dump->bad++;
    log_text_begin(&dump->text, "bad");
    log_text_i64(&dump->text, "position", (int64_t)pos);
    log_text_word(&dump->text, "problem", problem);
    log_text_end(&dump->text);
}

static const char *
compression_name(const struct batch_header *header)
{
    static const char *const names[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    size_t type = (size_t)batch_compression(header);
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

static void
tell_batch(struct dump *dump, const struct batch_header *header, uint64_t pos, bool sound)
{
    struct log_text *text = &dump->text;
    log_text_begin(text, "batch");
    log_text_i64(text, "baseOffset", header->base_offset);
    log_text_i64(text, "lastOffset", batch_last_offset(header));
    log_text_i64(text, "position", (int64_t)pos);
    log_text_i64(text, "size", (int64_t)header->size);
    log_text_i64(text, "leaderEpoch", header->leader_epoch);
    log_text_word(text, "crc", sound ? "ok" : "wrong");
    log_text_word(text, "compression", compression_name(header));
    log_text_word(text, "timestampType",
                  (header->attributes & BATCH_LOG_APPEND_TIME) != 0 ? "append" : "create");
    log_text_i64(text, "baseTimestamp", header->base_timestamp);
    log_text_i64(text, "maxTimestamp", header->max_timestamp);
    log_text_i64(text, "producerId", header->producer_id);
    log_text_i64(text, "producerEpoch", header->producer_epoch);
    log_text_i64(text, "baseSequence", header->base_sequence);
    log_text_i64(text, "lastSequence", batch_last_sequence(header));
    log_text_bool(text, "transactional", (header->attributes & BATCH_TRANSACTIONAL) != 0);
    log_text_bool(text, "control", (header->attributes & BATCH_CONTROL) != 0);
    log_text_i64(text, "count", header->count);
    log_text_end(text);
}

static void
tell_headers(struct log_text *text, struct bytes headers)
{
    struct record_header header;
    bool first = true;
    log_text_begin_list(text, "headers");
    while (batch_headers_next(&headers, &header)) {
        log_text_begin_item(text, first);
        log_text_bytes(text, "key", header.key);
        log_text_bytes(text, "value", header.value);
        log_text_end_item(text);
        first = false;
    }
    log_text_end_list(text);
}

static void
tell_record(struct dump *dump, const struct batch_record *record)
{
    struct log_text *text = &dump->text;
    log_text_begin(text, "record");
    log_text_i64(text, "offset", record->offset);
    log_text_i64(text, "timestamp", record->timestamp);
    log_text_bytes(text, "key", record->key);
    log_text_bytes(text, "value", record->value);
    if (record->header_count > 0 || text->sink->json) {
        tell_headers(text, record->headers);
    }
    log_text_end(text);
    dump->records++;
}

static void
tell_records(struct dump *dump, struct bytes batch, uint64_t pos)
{
    struct batch_record record;
    struct err_msg msg;
    dmq_err err = batch_reader_open(&dump->reader, batch, &msg);
    while (err == DMQ_OK && batch_reader_next(&dump->reader, &record)) {
        tell_record(dump, &record);
    }
    if (err == DMQ_OK) {
        err = batch_reader_result(&dump->reader, &msg);
    }
    if (err != DMQ_OK) {
        tell_bad(dump, pos, msg.text);
    }
}

/* The next batch, whatever it is worth. */
static enum scan_result
dump_next(struct dump *dump, struct log_scan *scan)
{
    static const struct batch_limits limits = {.max_bytes = LOG_MAX_BATCH_BYTES};
    struct batch_header header;
    struct bytes batch;
    struct err_msg msg;
    uint64_t pos = scan->pos;
    enum scan_result result = log_scan_next_header(scan, &header, &msg);
    if (result == SCAN_BATCH) {
        result = log_scan_reread(scan, &header, &batch, &msg);
    }
    if (result == SCAN_FAILED) {
        tell_bad(dump, pos, msg.text);
    }
    if (result != SCAN_BATCH) {
        return result;
    }
    bool sound = batch_check(batch, &limits, &msg, NULL) == DMQ_OK;
    dump->batches++;
    tell_batch(dump, &header, pos, sound);
    if (sound) {
        tell_records(dump, batch, pos);
    } else {
        tell_bad(dump, pos, msg.text);
    }
    return SCAN_BATCH;
}

/* What lies behind the last batch: space made ahead, or something that is no batch. */
static void
tell_end(struct dump *dump, struct log_scan *scan)
{
    struct log_text *text = &dump->text;
    struct err_msg msg;
    uint64_t pos = scan->pos;
    uint64_t last = pos;
    if (log_scan_last_byte(scan, &last, &msg) == SCAN_FAILED) {
        tell_bad(dump, pos, msg.text);
    } else if (last > pos) {
        char problem[80];
        snprintf(problem, sizeof(problem), "%" PRIu64 " bytes that are no batch", last - pos);
        tell_bad(dump, pos, problem);
    }
    log_text_begin(text, "end");
    log_text_i64(text, "position", (int64_t)pos);
    log_text_i64(text, "batches", dump->batches);
    log_text_i64(text, "records", dump->records);
    log_text_i64(text, "spaceAhead", (int64_t)(scan->file_size - last));
    log_text_end(text);
}

static void
dump_log(struct dump *dump, struct fs *fs, struct fs_file *file, uint64_t size)
{
    struct log_scan scan;
    log_scan_init(&scan, fs, file, size, DUMP_CHUNK);
    while (dump_next(dump, &scan) == SCAN_BATCH) {
    }
    tell_end(dump, &scan);
    log_scan_deinit(&scan);
}

/* ---- indexes --------------------------------------------------------------------------------- */

static bool
tell_entry(struct dump *dump, const uint8_t *from, int64_t base, bool times)
{
    struct log_text *text = &dump->text;
    struct index_entry entry;
    struct time_entry time;
    if (times ? !time_entry_get(from, base, &time) : !index_entry_get(from, base, &entry)) {
        return false;
    }
    log_text_begin(text, "entry");
    if (times) {
        log_text_i64(text, "timestamp", time.timestamp);
        log_text_i64(text, "offset", time.offset);
    } else {
        log_text_i64(text, "offset", entry.offset);
        log_text_i64(text, "position", (int64_t)entry.pos);
    }
    log_text_end(text);
    return true;
}

static void
dump_index(struct dump *dump, struct fs *fs, struct fs_file *file, int64_t base, bool times)
{
    size_t entry_size = times ? TIME_ENTRY_SIZE : INDEX_ENTRY_SIZE;
    uint8_t entry[TIME_ENTRY_SIZE];
    size_t got;
    for (uint64_t pos = 0;; pos += entry_size) {
        if (fs->ops->pread(file, entry, entry_size, pos, &got) != 0) {
            tell_bad(dump, pos, "cannot be read");
            return;
        }
        if (got == 0) {
            return;
        }
        if (got < entry_size || !tell_entry(dump, entry, base, times)) {
            tell_bad(dump, pos, got < entry_size ? "part of an entry" : "checksum is wrong");
        }
    }
}

/* ---- a file ---------------------------------------------------------------------------------- */

/* The base offset and suffix of a path like ".../00000000000000000000.index". */
static bool
parse_path(const char *path, int64_t *ret_base, const char **ret_suffix)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const char *dot = strchr(name, '.');
    char log_name[64];
    if (dot == NULL || dot - name > 20) {
        return false;
    }
    snprintf(log_name, sizeof(log_name), "%.*s%s", (int)(dot - name), name, LOG_SUFFIX);
    *ret_suffix = dot;
    return log_name_parse(log_name, ret_base);
}

int
log_tool_dump(struct fs *fs, const char *path, const struct log_sink *sink)
{
    struct dump dump = {.batches = 0};
    struct fs_file *file = NULL;
    struct err_msg msg;
    const char *suffix = LOG_SUFFIX; /* whatever else it is called */
    int64_t base = 0;
    uint64_t size = 0;
    bool named = parse_path(path, &base, &suffix);
    bool times = named && strcmp(suffix, TIME_SUFFIX) == 0;
    bool index = named && strcmp(suffix, INDEX_SUFFIX) == 0;
    log_text_init(&dump.text, sink);
    batch_reader_init(&dump.reader, &COMPRESS_DEFAULT_LIMITS);
    if (log_open_existing(fs, path, &file, &size, &msg) != DMQ_OK) {
        tell_bad(&dump, 0, msg.text);
    } else if (file == NULL) {
        tell_bad(&dump, 0, "there is no such file");
    } else if (times || index) {
        dump_index(&dump, fs, file, base, times);
    } else {
        dump_log(&dump, fs, file, size);
    }
    if (file != NULL) {
        fs->ops->close(file);
    }
    batch_reader_deinit(&dump.reader);
    log_text_deinit(&dump.text);
    return dump.bad > 0 ? 1 : 0;
}
