/* Every message and record. Input: which, then the frame. What decodes must encode, and decode to
 * the same again; and go through JSON and back. */
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec.h"
#include "libdmq/wire/codec_json.h"
#include "tests/support/random_msg.h"

#define ARENA_BYTES (4u << 20)

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

static void
check_again(const struct struct_desc *desc, const union any_msg *msg)
{
    struct arena arena;
    struct outbuf out = {0};
    struct err_msg err;
    union any_msg again;
    arena_init(&arena, ARENA_BYTES);
    msg_encode(desc, 0, msg, &out);
    DMQ_ASSERT(!out.failed);
    dmq_err result = msg_decode(desc, 0, bytes_of(out.data, out.size), &arena, &again, &err);
    DMQ_ASSERT(result == DMQ_OK);
    DMQ_ASSERT(msg_equal(desc, 0, msg, &again));
    outbuf_deinit(&out);
    arena_deinit(&arena);
}

static void
check_json(const struct struct_desc *desc, const union any_msg *msg)
{
    struct arena arena;
    struct err_msg err;
    union any_msg again = {0};
    arena_init(&arena, 4 * ARENA_BYTES);
    char *text = msg_to_json_text(desc, msg);
    DMQ_ASSERT(text != NULL);
    dmq_err result = msg_from_json_text(desc, bytes_str(text), &arena, &again, &err);
    /* The name of a setting is a key there, and a key cannot hold a NUL. */
    DMQ_ASSERT(result == DMQ_OK || strstr(err.text, "NUL") != NULL);
    if (result == DMQ_OK) {
        char *text_again = msg_to_json_text(desc, &again);
        DMQ_ASSERT(text_again != NULL && strcmp(text, text_again) == 0);
        free(text_again);
    }
    free(text);
    arena_deinit(&arena);
}

static void
try_record(struct bytes frame)
{
    struct arena arena;
    struct outbuf out = {0};
    struct err_msg err;
    struct meta_record record;
    arena_init(&arena, ARENA_BYTES);
    if (record_decode(frame, &arena, &record, &err) == DMQ_OK) {
        struct meta_record again;
        record_encode(record.desc->type, &record.u, &out);
        dmq_err result = record_decode(bytes_of(out.data, out.size), &arena, &again, &err);
        DMQ_ASSERT(result == DMQ_OK && again.desc == record.desc);
        DMQ_ASSERT(msg_equal(record.desc->body(), record.desc->version, &record.u, &again.u));
    }
    outbuf_deinit(&out);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct bytes frame = bytes_of(data + 1, size - 1);
    size_t which = data[0] % (message_count() + 1);
    if (which == message_count()) {
        try_record(frame);
        return 0;
    }
    struct arena arena;
    struct err_msg err;
    union any_msg msg;
    const struct struct_desc *desc = message_desc(which);
    DMQ_ASSERT(desc->size <= sizeof(msg));
    arena_init(&arena, ARENA_BYTES);
    if (msg_decode(desc, 0, frame, &arena, &msg, &err) == DMQ_OK) {
        check_again(desc, &msg);
        check_json(desc, &msg);
    } else {
        DMQ_ASSERT(err.text[0] != '\0');
    }
    arena_deinit(&arena);
    return 0;
}
