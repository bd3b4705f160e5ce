/* The other programs of DMQ, which lie beside this one. */
#ifndef DMQ_CLI_PROGRAM_H
#define DMQ_CLI_PROGRAM_H

#include <stdbool.h>

enum { PROGRAM_PATH_BYTES = 4096 };

/* Path of a program in the folder of this executable. False: it is not there (printed). */
bool program_find(const char *name, char path[PROGRAM_PATH_BYTES]);

#endif
