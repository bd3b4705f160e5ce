/* The seam to the file system (fs.h) on POSIX. */
#ifndef DMQ_OS_FS_POSIX_H
#define DMQ_OS_FS_POSIX_H

#include "libdmq/base/fs.h"

/* The file system of this machine. It has no state: one for all threads, never freed. Folders are
 * made with mode 0750, files with 0640. */
struct fs *fs_posix(void);

#endif
