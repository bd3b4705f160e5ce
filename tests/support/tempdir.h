/* A folder for one test, on the real disk (/tmp may be memory), removed with all that is in it. */
#ifndef TESTS_SUPPORT_TEMPDIR_H
#define TESTS_SUPPORT_TEMPDIR_H

#include <stdbool.h>
#include <stddef.h>

struct tempdir {
    char path[64];
};

/* Aborts if it cannot be made: no test can go on without. */
void tempdir_make(struct tempdir *dir);
void tempdir_remove(struct tempdir *dir);

/* "<dir>/<name>", static: valid until the next call but 3. */
const char *tempdir_join(const struct tempdir *dir, const char *name);

/* The whole contents of a file, heap; aborts if it cannot be read. */
void *file_read(const char *path, size_t *ret_size);
void file_write(const char *path, const void *data, size_t size);
bool file_exists(const char *path);

#endif
