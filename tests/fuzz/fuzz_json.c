/* JSON bodies. Input: which message, then the text. What is taken must lead to a text that is taken
 * and leads to itself. */
#include <stdlib.h>

#include "libdmq/base/assert.h"
#include "libdmq/wire/codec_json.h"
#include "tests/support/random_msg.h"

#define ARENA_BYTES (4u << 20)

union any_msg {
    max_align_t align;
    unsigned char room[1024];
};

/* NULL if the text is refused. */
static char *
pass(const struct struct_desc *desc, struct bytes text)
{
    struct arena arena;
    struct err_msg err = {0};
    union any_msg msg = {0};
    char *made = NULL;
    arena_init(&arena, ARENA_BYTES);
    if (msg_from_json_text(desc, text, &arena, &msg, &err) == DMQ_OK) {
        made = msg_to_json_text(desc, &msg);
        DMQ_ASSERT(made != NULL);
    } else {
        DMQ_ASSERT(err.code != DMQ_OK && err.text[0] != '\0');
    }
    arena_deinit(&arena);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > ARENA_BYTES / 64) {
        return 0;
    }
    const struct struct_desc *desc = message_desc(data[0] % message_count());
    DMQ_ASSERT(desc->size <= sizeof(union any_msg));
    char *text = pass(desc, bytes_of(data + 1, size - 1));
    if (text != NULL) {
        char *again = pass(desc, bytes_str(text));
        DMQ_ASSERT(again != NULL && strcmp(text, again) == 0);
        free(again);
    }
    free(text);
    return 0;
}
