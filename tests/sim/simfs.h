/* The simulator's disk: fs.h in memory, with what a real one may do to those who do not sync.
 *
 * Of each file there is what is durable and, in order, what was done since. A crash keeps of that
 * any part: writes in pieces of 512 bytes (aligned, as sectors are), truncations and reservations
 * whole or not. A file may also come out longer than its data, with zeroes. Names (created,
 * renamed, removed) wait for sync_dir of their folder; a crash keeps any of them. datasync makes a
 * file's contents durable, not its name.
 *
 *     struct simfs *disk = simfs_new(seed);
 *     simfs_make_folder(disk, "/data");
 *     ... run the code on simfs_fs(disk) ...
 *     simfs_crash(disk, SIMFS_TEAR, seed);   the process must be dead by then
 *     ... start it again ...
 *
 * Everything random comes from the seeds. */
#ifndef TESTS_SIM_SIMFS_H
#define TESTS_SIM_SIMFS_H

#include "libdmq/base/fs.h"

struct simfs;

struct simfs *simfs_new(uint64_t seed);
void simfs_free(struct simfs *disk);
struct fs *simfs_fs(struct simfs *disk);

/* A second disk in the same state, without open files: to try several crashes of one moment. */
struct simfs *simfs_clone(const struct simfs *disk);

/* ---- crashes --------------------------------------------------------------------------------- */

enum simfs_crash {
    SIMFS_LOSE, /* only what was synced is left */
    SIMFS_KEEP, /* all is left, by good luck */
    SIMFS_TEAR  /* any part of what was not synced is left */
};

/* The power fails. Files that are open stay so for their owner, who can only close them: every
 * other call returns EIO. Faults and the capacity are as before. */
void simfs_crash(struct simfs *disk, enum simfs_crash how, uint64_t seed);

/* Only the process dies: its files are closed to it as after a crash, but nothing is lost, and what
 * was not durable still is not. */
void simfs_kill(struct simfs *disk);

/* After count more calls that change something, each call returns EIO, and does nothing, until
 * simfs_crash or simfs_kill: so that code can be stopped anywhere. UINT64_MAX: never (the
 * default). */
void simfs_die_after(struct simfs *disk, uint64_t count);
bool simfs_is_dead(const struct simfs *disk);

/* ---- faults ---------------------------------------------------------------------------------- */

enum simfs_call {
    SIMFS_OPEN,
    SIMFS_PREAD,
    SIMFS_PWRITEV,
    SIMFS_DATASYNC,
    SIMFS_TRUNCATE,
    SIMFS_ALLOCATE,
    SIMFS_MKDIR,
    SIMFS_SYNC_DIR,
    SIMFS_RENAME,
    SIMFS_UNLINK,
    SIMFS_RMDIR,
    SIMFS_SPACE,
    SIMFS_LIST,
    SIMFS_CALLS
};

/* `times` calls fail with error, after `after` of the same kind went well. A datasync that fails
 * loses part of what it should have made durable, though reads still show it: as the kernel marks
 * pages clean. A pwritev that fails has written some of it. The newest fault of a kind replaces the
 * older. */
void simfs_fail(struct simfs *disk, enum simfs_call call, int error, uint64_t after,
                uint64_t times);

/* Largest sum of file sizes; growth beyond it fails with ENOSPC, a write after its first part.
 * Default: UINT64_MAX. */
void simfs_set_capacity(struct simfs *disk, uint64_t bytes);
uint64_t simfs_used(const struct simfs *disk);

/* The time of day, for what changes from now on. Default: 0. */
void simfs_set_time(struct simfs *disk, int64_t wall_ms);

/* Rot: changes one bit, durably. False if the file has no such byte. */
bool simfs_flip(struct simfs *disk, const char *path, uint64_t pos, unsigned bit);

/* ---- looking in from outside ----------------------------------------------------------------- */

/* Makes a folder, durably; its parent exists. */
void simfs_make_folder(struct simfs *disk, const char *path);

/* Makes a file with these contents, durably. */
void simfs_put_file(struct simfs *disk, const char *path, struct bytes contents);

/* The contents of a file as reads see them; {NULL, 0} if there is none. Valid until it changes. */
struct bytes simfs_file(const struct simfs *disk, const char *path);
bool simfs_exists(const struct simfs *disk, const char *path);

/* What is left of a file after the worst crash. */
struct bytes simfs_durable_file(const struct simfs *disk, const char *path);

/* The names in a folder: those that are seen, or those that are left after the worst crash. */
void simfs_names(const struct simfs *disk, const char *path, bool durable,
                 void (*found)(void *arg, const char *name), void *arg);

/* A number that differs where folders, names or contents, as reads see them, differ. */
uint64_t simfs_digest(const struct simfs *disk);

/* Takes everything below a folder away, durably: a disk that comes back empty. */
void simfs_wipe(struct simfs *disk, const char *path);

struct simfs_counts {
    uint64_t calls[SIMFS_CALLS];
    uint64_t faults[SIMFS_CALLS]; /* of them that failed as asked for */
    uint64_t changes;             /* calls that change something: what simfs_die_after counts */
    uint64_t bytes_written;
    uint64_t full; /* calls that failed for the capacity */
    uint64_t crashes;
    uint64_t pieces_kept; /* in crashes: of writes that were not synced */
    uint64_t pieces_lost;
    uint64_t writes_torn; /* of which some pieces were kept and some were lost */
    uint64_t names_kept;
    uint64_t names_lost;
    uint64_t bits_flipped;
};
const struct simfs_counts *simfs_counts(const struct simfs *disk);

#endif
