/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef DMQ_BASE_UTF8_H
#define DMQ_BASE_UTF8_H

#include <stdbool.h>

#include "libdmq/base/bytes.h"

bool utf8_valid(struct bytes text);

/* Puts '?' in the place of each byte of a terminated text that is not part of a valid character:
 * for sentences that quote what came from outside, or were cut in the middle of a character. */
void utf8_repair(char *text);

#endif
