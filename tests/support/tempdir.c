#include "tests/support/tempdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void
require(bool ok, const char *what, const char *path)
{
    if (!ok) {
        fprintf(stderr, "%s: ", path);
        perror(what);
        abort();
    }
}

void
tempdir_make(struct tempdir *dir)
{
    snprintf(dir->path, sizeof(dir->path), "/var/tmp/dmq-test-XXXXXX");
    require(mkdtemp(dir->path) != NULL, "mkdtemp", dir->path);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void
tempdir_remove(struct tempdir *dir)
{
    require(nftw(dir->path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "nftw", dir->path);
}

const char *
tempdir_join(const struct tempdir *dir, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir->path, name);
    return path;
}

void *
file_read(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    require(file != NULL, "fopen", path);
    require(fseek(file, 0, SEEK_END) == 0, "fseek", path);
    long size = ftell(file);
    require(size >= 0 && fseek(file, 0, SEEK_SET) == 0, "ftell", path);
    void *data = malloc((size_t)size + 1);
    require(data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size, "fread", path);
    fclose(file);
    *ret_size = (size_t)size;
    return data;
}

void
file_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    require(file != NULL, "fopen", path);
    require(fwrite(data, 1, size, file) == size, "fwrite", path);
    require(fclose(file) == 0, "fclose", path);
}

bool
file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
