/* Runs a fuzz target over files: every file of every folder named on the command line, in the order
 * of their names. What the fuzzers found once is held by the tests in this way, with any compiler
 * and under any sanitizer. A folder without files is an error: it would hold nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUT_BYTES (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns the file's bytes in memory of exactly their size, so that a sanitizer sees every byte
 * that is read beyond them; NULL on failure. */
static uint8_t *
read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return NULL;
    }
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        if (size >= 0 && (unsigned long)size <= MAX_INPUT_BYTES) {
            data = malloc(size > 0 ? (size_t)size : 1);
            *ret_size = (size_t)size;
        }
    }
    if (data == NULL || fread(data, 1, *ret_size, file) != *ret_size) {
        fprintf(stderr, "%s: cannot be read, or is above %u bytes\n", path, MAX_INPUT_BYTES);
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static int
replay_file(const char *path)
{
    size_t size = 0;
    uint8_t *data = read_file(path, &size);
    if (data == NULL) {
        return -1;
    }
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Returns the number of files, or -1. */
static int
replay_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_visible, alphasort);
    int done = count;
    if (count < 0) {
        perror(folder);
    } else if (count == 0) {
        fprintf(stderr, "%s: no file to replay\n", folder);
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (replay_file(path) != 0) {
            done = -1;
        }
        free(entries[i]);
    }
    free(entries);
    return done;
}

int
main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count <= 0) {
            return 1;
        }
        total += count;
    }
    printf("%s: %d inputs replayed\n", argv[0], total);
    return total > 0 ? 0 : 1;
}
