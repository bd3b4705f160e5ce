/* What every daemon does before anything else. */
#ifndef LIBDMQ_OS_DAEMON_H
#define LIBDMQ_OS_DAEMON_H

/* A message above malloc's mmap threshold would fault fresh pages every time (16 to 60 % of the
 * throughput at 64 KiB to 1 MB frames). */
void daemon_tune_memory(void);

/* As many descriptors as the system lets this process have: each connection is one, and where none
 * is left logs cannot be read. */
void daemon_raise_limits(void);

/* Blocks all signals in this thread and those that it makes, and returns a descriptor that SIGTERM,
 * SIGINT and SIGHUP can be read from (struct signalfd_siginfo): CZMQ 4.2.1 ends a loop at EINTR.
 * -1 if there is none to be had. Before the first thread. */
int daemon_open_signals(void);

#endif
