/* One flipped bit at every byte of the broker's store, real LevelDB: the store is refused, or it
 * holds what it held at some time, as after a crash. It never holds another value, and never a
 * mixture. That it may have gone back is why a log is held against its files at the start, and why
 * the controller pushes what a broker lacks. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/store/store.h"
#include "tests/support/tempdir.h"

#define MAX_FILES 16
#define MAX_STATES 16
#define ROWS 4

static struct tempdir dir;

struct file {
    char name[32];
    uint8_t *data;
    size_t size;
};

static struct file files[MAX_FILES];
static size_t file_count;
static struct buf *states[MAX_STATES]; /* all rows as text, after each write */
static size_t state_count;

static struct {
    int bytes;
    int refused;
    int harmless;
    int went_back;
} seen;

/* In memory if possible: LevelDB syncs, and this is done for each byte. */
static void
make_folder(void)
{
    snprintf(dir.path, sizeof(dir.path), "/dev/shm/dmq-test-XXXXXX");
    if (mkdtemp(dir.path) == NULL) {
        tempdir_make(&dir);
    }
}

/* ---- a store with a history ------------------------------------------------------------------ */

/* All rows, one after another, or NULL if they cannot be read. */
static struct buf *
read_rows(struct kv *kv)
{
    struct store_rows rows;
    struct outbuf text = {0};
    if (store_read(kv, bytes_str(""), &rows) != DMQ_OK) {
        return NULL;
    }
    outbuf_put(&text, "|", 1);
    for (size_t i = 0; i < rows.count; i++) {
        outbuf_put(&text, rows.rows[i].key.data, rows.rows[i].key.size);
        outbuf_put(&text, "=", 1);
        outbuf_put(&text, rows.rows[i].value.data, rows.rows[i].value.size);
        outbuf_put(&text, "|", 1);
    }
    store_rows_deinit(&rows);
    return outbuf_take(&text);
}

static void
note_state(struct kv *kv)
{
    assert_true(state_count < MAX_STATES);
    states[state_count] = read_rows(kv);
    assert_non_null(states[state_count++]);
}

/* Each write changes every row, so that a mixture would show. */
static void
write_rows(struct kv *kv, int number)
{
    char keys[ROWS][16];
    char values[ROWS][32];
    struct kv_op ops[ROWS];
    for (int i = 0; i < ROWS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "log/%d", i);
        snprintf(values[i], sizeof(values[i]), "value %d of write %d", i, number);
        ops[i] = (struct kv_op){.key = bytes_str(keys[i]), .value = bytes_str(values[i])};
    }
    ops[ROWS - 1].remove = number % 3 == 2;
    assert_int_equal(kv->ops->write(kv, ops, ROWS, number % 2 == 0), DMQ_OK);
    note_state(kv);
}

/* Two runs: LevelDB makes a table of the first one's log. */
static void
make_store(void)
{
    struct err_msg err;
    struct kv *kv;
    for (int run = 0; run < 2; run++) {
        assert_int_equal(store_open(dir.path, run == 0, &kv, &err), DMQ_OK);
        if (run == 0) {
            note_state(kv);
        }
        for (int i = 0; i < 5; i++) {
            write_rows(kv, 5 * run + i);
        }
        kv->ops->close(kv);
    }
}

static int
setup(void **state)
{
    (void)state;
    make_folder();
    make_store();
    DIR *folder = opendir(tempdir_join(&dir, "store"));
    assert_non_null(folder);
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char path[sizeof(dir.path) + 48];
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, "LOG", 3) == 0) {
            continue; /* LevelDB's own log is for people */
        }
        assert_true(file_count < MAX_FILES);
        struct file *file = &files[file_count++];
        snprintf(file->name, sizeof(file->name), "%.31s", entry->d_name);
        snprintf(path, sizeof(path), "%s/store/%.31s", dir.path, file->name);
        file->data = file_read(path, &file->size);
    }
    closedir(folder);
    tempdir_remove(&dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < file_count; i++) {
        free(files[i].data);
    }
    for (size_t i = 0; i < state_count; i++) {
        buf_unref(states[i]);
    }
    return 0;
}

/* ---- one bit --------------------------------------------------------------------------------- */

static void
put_files(void)
{
    char path[sizeof(dir.path) + 48];
    snprintf(path, sizeof(path), "%s/store", dir.path);
    assert_int_equal(mkdir(path, 0750), 0);
    for (size_t i = 0; i < file_count; i++) {
        snprintf(path, sizeof(path), "%s/store/%.31s", dir.path, files[i].name);
        file_write(path, files[i].data, files[i].size);
    }
}

static void
look(const char *name, size_t pos)
{
    struct err_msg err;
    struct kv *kv = NULL;
    struct buf *rows = NULL;
    size_t at = state_count;
    if (store_open(dir.path, false, &kv, &err) == DMQ_OK) {
        rows = read_rows(kv);
        kv->ops->close(kv);
    }
    seen.bytes++;
    if (rows == NULL) {
        seen.refused++;
        return;
    }
    while (at > 0 && !bytes_equal(buf_bytes(states[at - 1]), buf_bytes(rows))) {
        at--;
    }
    if (at == 0) {
        fail_msg("%s, byte %zu: the store never held %.*s", name, pos, (int)rows->size,
                 (const char *)rows->data);
    }
    seen.harmless += at == state_count;
    seen.went_back += at < state_count;
    buf_unref(rows);
}

static void
flip_file(struct file *file)
{
    memset(&seen, 0, sizeof(seen));
    for (size_t pos = 0; pos < file->size; pos++) {
        make_folder();
        file->data[pos] ^= (uint8_t)(1U << pos % 8);
        put_files();
        look(file->name, pos);
        file->data[pos] ^= (uint8_t)(1U << pos % 8);
        tempdir_remove(&dir);
    }
    printf("%-16s %4d bytes: refused %d, harmless %d, an earlier state %d\n", file->name,
           seen.bytes, seen.refused, seen.harmless, seen.went_back);
}

static void
a_bit_in_the_store(void **state)
{
    (void)state;
    int refused = 0;
    int bytes = 0;
    make_folder();
    put_files();
    look("nothing", 0);
    assert_int_equal(seen.harmless, 1);
    tempdir_remove(&dir);
    for (size_t i = 0; i < file_count; i++) {
        flip_file(&files[i]);
        refused += seen.refused;
        bytes += seen.bytes;
    }
    assert_true(bytes > 1000);
    assert_true(refused > bytes / 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bit_in_the_store, setup, teardown),
    };
    return cmocka_run_group_tests_name("bit_rot", tests, NULL, NULL);
}
