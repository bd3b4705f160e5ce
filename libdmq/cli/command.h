/* A command of the tool: what main.c dispatches and help.c describes. */
#ifndef DMQ_CLI_COMMAND_H
#define DMQ_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "libdmq/cli/args.h"

/* What the options that every command takes said, and the words of the command line. */
struct cli {
    const char *url; /* NULL: $DMQ_URL, else this machine */
    bool json;
    struct args *args;
    const char *const *words; /* what stands behind the command's name */
    size_t word_count;
};

struct command {
    const char *name;      /* "topic create": one word or two */
    const char *arguments; /* "NAME"; "" for none */
    bool takes_topic;      /* the first of them is a topic's name */
    const char *summary;   /* one line */
    const char *details;   /* further lines of the help, each ended by \n; NULL: none */
    const char *examples;  /* shell lines, each ended by \n */
    const struct option_spec *options;
    size_t min_words;
    size_t max_words;
    int (*run)(const struct cli *cli); /* returns the exit code */
    /* In place of `run`, where all that follows the name is for another program: becomes it. argv
     * begins with the name. Returns an exit code only if that failed. */
    int (*become)(char **argv);
};

extern const struct option_spec GLOBAL_OPTIONS[];

/* All commands, in the order of the help; NULL ends it. */
extern const struct command *const COMMANDS[];

extern const struct command COMMAND_DEV;
extern const struct command COMMAND_TOPIC_CREATE;
extern const struct command COMMAND_TOPIC_LIST;
extern const struct command COMMAND_TOPIC_DESCRIBE;
extern const struct command COMMAND_TOPIC_DELETE;
extern const struct command COMMAND_TOPIC_CONFIG;
extern const struct command COMMAND_TOPIC_ADD_PARTITIONS;
extern const struct command COMMAND_TOPIC_ELECT;
extern const struct command COMMAND_PRODUCE;
extern const struct command COMMAND_CONSUME;
extern const struct command COMMAND_CLUSTER_INFO;
extern const struct command COMMAND_CLUSTER_HEALTH;
extern const struct command COMMAND_CLUSTER_BROKERS;
extern const struct command COMMAND_CLUSTER_CONTROLLERS;
extern const struct command COMMAND_QUORUM_STATUS;
extern const struct command COMMAND_QUORUM_TRANSFER_LEADER;
extern const struct command COMMAND_QUORUM_ADD;
extern const struct command COMMAND_QUORUM_REMOVE;
extern const struct command COMMAND_BENCH_PRODUCE;
extern const struct command COMMAND_BENCH_CONSUME;
extern const struct command COMMAND_BENCH_E2E;
extern const struct command COMMAND_LOG_DUMP;
extern const struct command COMMAND_LOG_VERIFY;
extern const struct command COMMAND_HEALTH;
extern const struct command COMMAND_CONTROLLER;
extern const struct command COMMAND_BROKER;
extern const struct command COMMAND_VERSION;
extern const struct command COMMAND_COMPLETION;

#endif
