#include "libdmq/cli/program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libdmq/cli/report.h"

bool
program_find(const char *name, char path[PROGRAM_PATH_BYTES])
{
    ssize_t size = readlink("/proc/self/exe", path, PROGRAM_PATH_BYTES - 1);
    if (size <= 0) {
        report_failure("cannot tell where this program lies: is /proc mounted?");
        return false;
    }
    path[size] = '\0';
    char *base = strrchr(path, '/') + 1; /* an absolute path */
    size_t room = PROGRAM_PATH_BYTES - (size_t)(base - path);
    if ((size_t)snprintf(base, room, "%s", name) >= room || access(path, X_OK) != 0) {
        report_failure("%s is not there: it must lie in the same folder as dmq", path);
        return false;
    }
    return true;
}
