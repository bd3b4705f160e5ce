/* Settings as people write them. Input: where from, then the text: a file of `key = value` lines, a
 * --set, or variables of the environment. What is taken lies in its range, and is taken again as it
 * is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libdmq/base/assert.h"
#include "libdmq/conf/settings.h"

#define MAX_BYTES 65536
#define MAX_VARIABLES 64

static dmq_err
read_file(struct settings *settings, const char *text, size_t size, struct err_msg *err)
{
    static int fd = -1;
    char path[64];
    if (fd < 0) {
        fd = memfd_create("settings", MFD_CLOEXEC);
        DMQ_ASSERT(fd >= 0);
    }
    DMQ_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, text, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return settings_read_file(settings, path, err);
}

/* text holds the variables one after another, each terminated. */
static dmq_err
read_environment(struct settings *settings, char *text, size_t size, struct err_msg *err)
{
    char *variables[MAX_VARIABLES + 1] = {NULL};
    size_t count = 0;
    for (size_t at = 0; at < size && count < MAX_VARIABLES; at += strlen(text + at) + 1) {
        if (strstr(text + at, "_FILE=") != NULL) {
            continue; /* that would open files of this machine */
        }
        variables[count++] = text + at;
    }
    return settings_read_environment(settings, variables, err);
}

static void
check_value(struct settings *settings, enum setting setting)
{
    const struct setting_desc *desc = setting_desc(setting);
    char origin[SETTING_ORIGIN_SIZE];
    char assignment[SETTING_MAX_TEXT + 128];
    struct err_msg err;
    const char *text = setting_text(settings, setting);
    DMQ_ASSERT(strlen(text) < SETTING_MAX_TEXT);
    DMQ_ASSERT(*setting_origin(settings, setting, origin) != '\0');
    if (!desc->is_text) {
        int64_t number = setting_number(settings, setting);
        DMQ_ASSERT(number >= desc->least && number <= desc->most);
    }
    snprintf(assignment, sizeof(assignment), "%s=%s", desc->name, text);
    struct settings again;
    settings_init(&again);
    DMQ_ASSERT(settings_set(&again, assignment, &err) == DMQ_OK);
    DMQ_ASSERT(strcmp(setting_text(&again, setting), text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_BYTES) {
        return 0;
    }
    struct settings settings;
    struct err_msg err = {0};
    char *text = calloc(size, 1); /* terminated: one byte tells where from */
    DMQ_ASSERT(text != NULL);
    memcpy(text, data + 1, size - 1);
    settings_init(&settings);
    dmq_err failed = data[0] % 3 == 0   ? read_file(&settings, text, size - 1, &err)
                     : data[0] % 3 == 1 ? settings_set(&settings, text, &err)
                                        : read_environment(&settings, text, size - 1, &err);
    DMQ_ASSERT(failed == DMQ_OK || err.text[0] != '\0');
    for (int i = 0; failed == DMQ_OK && i < SETTING_COUNT; i++) {
        check_value(&settings, (enum setting)i);
    }
    free(text);
    return 0;
}
