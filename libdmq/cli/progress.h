/* A progress line on stderr for long work, when stderr is a terminal and nobody asked for quiet. */
#ifndef DMQ_CLI_PROGRESS_H
#define DMQ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Call with --quiet known. `verb`: "stored", "read". is_allowed false: stdout is the terminal too,
 * and the records that appear there are progress enough. */
void progress_start(const char *verb, bool is_allowed);

/* Cheap; draws at most five times a second. */
void progress_update(uint64_t records, uint64_t bytes);

/* Takes the line away, for other output or at the end. */
void progress_clear(void);

#endif
