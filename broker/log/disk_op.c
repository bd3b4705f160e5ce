#include "broker/log/disk_op.h"

#include <stdlib.h>

#include "broker/log/recovered.h"

static void
free_open(struct log_open *open)
{
    if (open != NULL) {
        buf_unref(open->epochs);
        buf_unref(open->producers);
        free(open);
    }
}

void
disk_op_deinit(struct disk_op *op)
{
    switch (op->kind) {
    case DISK_OPEN:
    case DISK_DELETE:
    case DISK_QUARANTINE:
        free_open(op->u.open);
        op->u.open = NULL;
        break;
    case DISK_WRITE:
        buf_unref(op->u.write.buf);
        op->u.write.buf = NULL;
        break;
    case DISK_READ:
        buf_unref(op->u.read.dir);
        op->u.read.dir = NULL;
        break;
    case DISK_FIND_TIME:
        buf_unref(op->u.find_time.dir);
        op->u.find_time.dir = NULL;
        break;
    case DISK_SPACE:
        buf_unref(op->u.space.dir);
        op->u.space.dir = NULL;
        break;
    case DISK_ROLL:
    case DISK_SYNC:
    case DISK_CLOSE:
    case DISK_REMOVE:
        break;
    }
}

void
disk_done_deinit(struct disk_done *done)
{
    if (done->again != NULL) {
        disk_op_deinit(done->again);
        free(done->again);
        done->again = NULL;
    }
    if (done->kind == DISK_OPEN) {
        log_recovered_free(done->u.recovered);
        done->u.recovered = NULL;
    } else if (done->kind == DISK_READ) {
        buf_unref(done->u.data);
        done->u.data = NULL;
    }
}
