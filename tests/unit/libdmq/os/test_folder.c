#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libdmq/os/folder.h"
#include "libdmq/os/random.h"
#include "tests/support/tempdir.h"

#define NOBODY 65534

static struct tempdir base;
static char path[128];

static int
setup(void **state)
{
    (void)state;
    tempdir_make(&base);
    snprintf(path, sizeof(path), "%s/a/b", base.path);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    tempdir_remove(&base);
    return 0;
}

static const char *
in_folder(const char *name)
{
    static char full[256];
    snprintf(full, sizeof(full), "%s/%s", path, name);
    return full;
}

static void
put_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void
first_use_draws_a_disk_id_that_stays(void **state)
{
    (void)state;
    struct folder a, b;
    struct err_msg err;
    assert_int_equal(folder_open(path, "broker", 101, &a, &err), DMQ_OK);
    assert_true(a.fresh);
    assert_false(uuid_is_zero(a.identity.disk_id));
    assert_true(uuid_is_zero(a.identity.cluster_id));
    folder_close(&a);
    assert_int_equal(folder_open(path, "broker", 101, &b, &err), DMQ_OK);
    assert_false(b.fresh);
    assert_true(uuid_equal(a.identity.disk_id, b.identity.disk_id));
    folder_close(&b);
}

static void
a_cluster_is_kept_and_another_refused(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    struct uuid ours = random_uuid(), other = random_uuid();
    assert_int_equal(folder_open(path, "controller", 1, &f, &err), DMQ_OK);
    assert_int_equal(folder_set_cluster(&f, ours, &err), DMQ_OK);
    assert_int_equal(folder_set_cluster(&f, ours, &err), DMQ_OK);
    folder_close(&f);
    assert_int_equal(folder_open(path, "controller", 1, &f, &err), DMQ_OK);
    assert_true(uuid_equal(f.identity.cluster_id, ours));
    assert_int_equal(folder_set_cluster(&f, other, &err), DMQ_ERR_INCONSISTENT_CLUSTER_ID);
    assert_true(uuid_equal(f.identity.cluster_id, ours));
    folder_close(&f);
}

static void
a_new_disk_id_stays_in_the_cluster(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    struct uuid ours = random_uuid();
    assert_int_equal(folder_open(path, "controller", 1, &f, &err), DMQ_OK);
    struct uuid before = f.identity.disk_id;
    assert_int_equal(folder_set_cluster(&f, ours, &err), DMQ_OK);
    assert_int_equal(folder_renew_disk(&f, &err), DMQ_OK);
    struct uuid after = f.identity.disk_id;
    assert_false(uuid_equal(before, after) || uuid_is_zero(after));
    folder_close(&f);
    assert_int_equal(folder_open(path, "controller", 1, &f, &err), DMQ_OK);
    assert_true(uuid_equal(f.identity.disk_id, after));
    assert_true(uuid_equal(f.identity.cluster_id, ours));
    folder_close(&f);
}

/* An id that could not be stored is not used: the old one would come back. */
static void
a_disk_id_that_cannot_be_stored_is_not_taken(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    assert_int_equal(folder_open(path, "controller", 1, &f, &err), DMQ_OK);
    struct uuid before = f.identity.disk_id;
    assert_int_equal(mkdir(in_folder("identity.tmp"), 0700), 0);
    assert_int_equal(folder_renew_disk(&f, &err), DMQ_ERR_IO);
    assert_true(uuid_equal(f.identity.disk_id, before));
    folder_close(&f);
}

static void
a_locked_folder_names_the_process(void **state)
{
    (void)state;
    struct folder f, g;
    struct err_msg err;
    char pid[32];
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    snprintf(pid, sizeof(pid), "process %d:", (int)getpid());
    assert_int_equal(folder_open(path, "broker", 101, &g, &err), DMQ_ERR_LOCKED);
    assert_non_null(strstr(err.text, pid));
    folder_close(&f);
    assert_int_equal(folder_open(path, "broker", 101, &g, &err), DMQ_OK);
    folder_close(&g);
}

static void
a_dead_process_leaves_no_lock(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    pid_t child = fork();
    if (child == 0) {
        _exit(folder_open(path, "broker", 101, &f, &err) == DMQ_OK ? 7 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    assert_false(f.fresh);
    folder_close(&f);
}

static void
anothers_folder_is_refused(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    folder_close(&f);
    assert_int_equal(folder_open(path, "broker", 102, &f, &err), DMQ_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "broker 101, not to broker 102"));
    assert_int_equal(folder_open(path, "controller", 101, &f, &err), DMQ_ERR_INVALID_ARGUMENT);
}

static void
a_folder_with_other_files_is_refused(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    folder_close(&f);
    put_file("photos.zip", "x");
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK); /* ours all the same */
    folder_close(&f);
    assert_int_equal(unlink(in_folder("identity")), 0);
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "photos.zip"));
}

static void
what_a_crash_at_first_use_leaves_is_taken(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    folder_close(&f);
    assert_int_equal(rename(in_folder("identity"), "/var/tmp/dmq-test-identity"), 0);
    unlink("/var/tmp/dmq-test-identity");
    put_file("identity.tmp", "format = 1\nro");
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    assert_true(f.fresh);
    folder_close(&f);
}

static void
a_damaged_identity_is_no_empty_folder(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    char byte;
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_OK);
    folder_close(&f);
    for (off_t at = 0; at < 120; at++) { /* every byte, flipped and put back */
        int fd = open(in_folder("identity"), O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_ERR_DAMAGED);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_int_equal(truncate(in_folder("identity"), 0), 0);
    assert_int_equal(folder_open(path, "broker", 101, &f, &err), DMQ_ERR_DAMAGED);
}

static void
bad_paths_are_errors(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    char name[FOLDER_MAX_PATH + 1];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    assert_int_equal(folder_open("", "broker", 1, &f, &err), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(folder_open(name, "broker", 1, &f, &err), DMQ_ERR_INVALID_ARGUMENT);
    assert_int_equal(folder_open("/proc/nothing/here", "broker", 1, &f, &err), DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "/proc/nothing"));
}

/* A folder that this user may not write to; the error says what to do. */
static void
anothers_permissions_are_an_error(void **state)
{
    (void)state;
    struct folder f;
    struct err_msg err;
    uid_t user = geteuid();
    assert_int_equal(chmod(base.path, 0500), 0);
    if (user == 0) {
        assert_int_equal(seteuid(NOBODY), 0);
    }
    dmq_err refused = folder_open(path, "broker", 1, &f, &err);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod(base.path, 0700), 0);
    assert_int_equal(refused, DMQ_ERR_IO);
    assert_non_null(strstr(err.text, "or give another --data"));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(first_use_draws_a_disk_id_that_stays),
        T(a_cluster_is_kept_and_another_refused),
        T(a_new_disk_id_stays_in_the_cluster),
        T(a_disk_id_that_cannot_be_stored_is_not_taken),
        T(a_locked_folder_names_the_process),
        T(a_dead_process_leaves_no_lock),
        T(anothers_folder_is_refused),
        T(a_folder_with_other_files_is_refused),
        T(what_a_crash_at_first_use_leaves_is_taken),
        T(a_damaged_identity_is_no_empty_folder),
        T(bad_paths_are_errors),
        T(anothers_permissions_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
