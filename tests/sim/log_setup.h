/* One log on the simulator's disk, with the model of what it holds: what the tests of a log begin
 * and end with. */
#ifndef TESTS_SIM_LOG_SETUP_H
#define TESTS_SIM_LOG_SETUP_H

#include "tests/sim/simfs.h"
#include "tests/support/log_model.h"

/* An empty disk; nothing is kept hot, so that every read is one of the disk. The log is not open.
 */
struct simfs *log_setup(struct log_rig *rig, struct log_model *model, int64_t segment_bytes,
                        int32_t index_interval_bytes);
void log_teardown(struct simfs *disk, struct log_rig *rig, struct log_model *model);

/* Appends a batch of one record of a producer whose sequences are the offsets; one of another epoch
 * has another value. Its base offset, or less than 0 if it was refused. */
int64_t log_append_one(struct log_rig *rig, struct log_model *model, int32_t epoch);

#endif
