/* Base64 as RFC 4648 has it, section 4: the standard alphabet, padded. */
#ifndef DMQ_BASE_BASE64_H
#define DMQ_BASE_BASE64_H

#include <stdbool.h>

#include "libdmq/base/bytes.h"

/* Characters of the text for so many bytes, without a terminator. */
static inline size_t
base64_text_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

/* Bytes that a text of so many characters can hold at most. */
static inline size_t
base64_data_max(size_t text_size)
{
    return text_size / 4 * 3;
}

/* Writes base64_text_size(bytes.size) characters; no terminator. */
void base64_encode(struct bytes bytes, char *text);

/* Writes up to base64_data_max(text.size) bytes. False if text is not base64: a foreign character,
 * padding that is missing or in the middle, or bits set that no byte has. data is undefined then.
 */
bool base64_decode(struct bytes text, uint8_t *data, size_t *ret_size);

#endif
