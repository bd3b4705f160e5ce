/* The clocks. Only the shells (api, node) read them; step machines get `now` in their events. */
#ifndef DMQ_OS_CLOCK_H
#define DMQ_OS_CLOCK_H

#include <stdint.h>

/* Since some point in the past; never goes back, runs on while the machine does. */
int64_t clock_ms(void);

/* Since 1970, UTC; jumps when it is set. */
int64_t clock_wall_ms(void);

#endif
