/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef DMQ_WIRE_UTF8_H
#define DMQ_WIRE_UTF8_H

#include <stdbool.h>

#include "libdmq/base/bytes.h"

bool utf8_valid(struct bytes text);

#endif
