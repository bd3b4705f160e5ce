#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libdmq/cli/args.h"
#include "libdmq/cli/report.h"

static const struct option_spec OWN[] = {
    {"partitions", "N", ""}, {"config", "K=V", ""}, {"sync", NULL, ""}, {NULL, NULL, NULL}};
static const struct option_spec GLOBAL[] = {
    {"url", "URL", ""}, {"help", NULL, ""}, {NULL, NULL, NULL}};
static const struct option_spec *const TABLES[] = {OWN, GLOBAL, NULL};

struct parsed {
    struct args args;
    const char *words[16];
    size_t word_count;
    int code;
    char said[512]; /* on stderr */
};

/* Parses "dmq" and the words given, ended by NULL. stderr is kept. */
static void
parse(struct parsed *p, ...)
{
    static char *argv[16];
    int argc = 1;
    va_list list;
    va_start(list, p);
    argv[0] = "dmq";
    while ((argv[argc] = va_arg(list, char *)) != NULL) {
        argc++;
    }
    va_end(list);

    FILE *real = stderr;
    FILE *kept = tmpfile();
    assert_non_null(kept);
    stderr = kept;
    memset(p, 0, sizeof(*p));
    assert_true(args_init(&p->args, argc, argv));
    for (;;) {
        p->code = args_next(&p->args, TABLES, &p->words[p->word_count]);
        if (p->code != CLI_OK || p->words[p->word_count] == NULL) {
            break;
        }
        p->word_count++;
    }
    stderr = real;
    rewind(kept);
    p->said[fread(p->said, 1, sizeof(p->said) - 1, kept)] = '\0';
    fclose(kept);
}

static void
options_stand_anywhere(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--url", "dmq://a", "x", "--partitions=3", "y", "--sync", "-", NULL);
    assert_int_equal(p.code, CLI_OK);
    assert_int_equal(p.word_count, 3);
    assert_string_equal(p.words[0], "x");
    assert_string_equal(p.words[1], "y");
    assert_string_equal(p.words[2], "-");
    assert_string_equal(args_value(&p.args, "url"), "dmq://a");
    assert_string_equal(args_value(&p.args, "partitions"), "3");
    assert_true(args_has(&p.args, "sync"));
    assert_false(args_has(&p.args, "help"));
    assert_null(args_value(&p.args, "config"));
    args_deinit(&p.args);
}

static void
values_may_begin_with_a_dash(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--config", "-1h", "--url=", NULL);
    assert_int_equal(p.code, CLI_OK);
    assert_string_equal(args_value(&p.args, "config"), "-1h");
    assert_string_equal(args_value(&p.args, "url"), "");
    args_deinit(&p.args);
}

static void
two_dashes_end_the_options(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--", "--sync", "--", NULL);
    assert_int_equal(p.word_count, 2);
    assert_string_equal(p.words[0], "--sync");
    assert_string_equal(p.words[1], "--");
    assert_false(args_has(&p.args, "sync"));
    args_deinit(&p.args);
}

static void
an_option_may_be_repeated(void **state)
{
    (void)state;
    struct parsed p;
    size_t cursor = 0;
    parse(&p, "--config", "a=1", "--sync", "--config", "b=2", NULL);
    assert_string_equal(args_value(&p.args, "config"), "b=2"); /* the last */
    assert_string_equal(args_each(&p.args, "config", &cursor), "a=1");
    assert_string_equal(args_each(&p.args, "config", &cursor), "b=2");
    assert_null(args_each(&p.args, "config", &cursor));
    args_deinit(&p.args);
}

static void
h_is_help(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "-h", NULL);
    assert_true(args_has(&p.args, "help"));
    args_deinit(&p.args);
}

static void
wrong_usage_is_explained(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "--partition", "3", NULL);
    assert_int_equal(p.code, CLI_USAGE);
    assert_non_null(strstr(p.said, "'--partition': did you mean '--partitions'?"));
    args_deinit(&p.args);
    parse(&p, "-x", NULL);
    assert_int_equal(p.code, CLI_USAGE);
    assert_non_null(strstr(p.said, "unknown option '-x'\n"));
    args_deinit(&p.args);
    parse(&p, "--partitions", NULL);
    assert_int_equal(p.code, CLI_USAGE);
    assert_non_null(strstr(p.said, "--partitions wants a value: --partitions N"));
    args_deinit(&p.args);
    parse(&p, "--sync=yes", NULL);
    assert_int_equal(p.code, CLI_USAGE);
    assert_non_null(strstr(p.said, "--sync takes no value"));
    args_deinit(&p.args);
}

static void
numbers_and_choices(void **state)
{
    (void)state;
    struct parsed p;
    int64_t number = 9;
    const char *choice = "all";
    parse(&p, "--partitions", "12", "--config", "lz4", NULL);
    assert_int_equal(args_int(&p.args, "url", 1, 5, &number), CLI_OK);
    assert_int_equal(number, 9); /* absent: as it was */
    assert_int_equal(args_int(&p.args, "partitions", 1, 12, &number), CLI_OK);
    assert_int_equal(number, 12);
    assert_int_equal(args_int(&p.args, "partitions", 1, 11, &number), CLI_USAGE);
    assert_int_equal(args_int(&p.args, "config", 1, 11, &number), CLI_USAGE);
    assert_int_equal(args_choice(&p.args, "url", "0|1|all", &choice), CLI_OK);
    assert_string_equal(choice, "all");
    assert_int_equal(args_choice(&p.args, "config", "none|lz4|zstd", &choice), CLI_OK);
    assert_string_equal(choice, "lz4");
    assert_int_equal(args_choice(&p.args, "config", "none|lz4x|zstd", &choice), CLI_USAGE);
    assert_int_equal(args_choice(&p.args, "config", "lz", &choice), CLI_USAGE);
    args_deinit(&p.args);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(values_may_begin_with_a_dash),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(an_option_may_be_repeated),
        cmocka_unit_test(h_is_help),
        cmocka_unit_test(wrong_usage_is_explained),
        cmocka_unit_test(numbers_and_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
