/* SPDX-License-Identifier: MIT */
/* shmq: messages between the processes of one machine, handed over in place.
 *
 * The public C API. Attach to a region (region.h; anonymous.h for one without a name), open a queue by name (names.h),
 * loan a block, write the payload, send it; receive it in the other process, read it in place, release it (channel.h).
 * What is promised when a process is killed, stopped or corrupt stands in docs/design.md.
 *
 *     struct shmq_region region;                         struct shmq_queue_ref frames;
 *     shmq_region_open(&region, &options, &error);       shmq_queue_open(&region.self, &spec, true, &frames);
 *
 *     sender:   shmq_loan(self, bytes, &loan);  …write shmq_payload()…  shmq_send(self, &frames, &loan, &parcel);
 *     receiver: shmq_receive(self, &frames, &message);  …read…  shmq_release(self, &message.hold);
 *
 * Threads: an actor serves one thread at a time. Opening, closing and whatever may find a dead process (waiting,
 * recovering) takes up to 32 KiB of stack. Results: enum shmq_result in map.h, texts by shmq_strerror.
 *
 * Who may write a file in /dev/shm may also cut it, and then its memory is SIGBUS for all who use it. A program that is
 * to outlive that calls shmq_guard_install() (guard.h) each time before it opens a region. What is lost then reads
 * zeros, operations end with whatever result zeros give, and shmq_region_is_lost(&region) tells it: look after an
 * operation fails, and now and then. A region that is lost is only good for shmq_region_close.
 */
#ifndef SHMQ_H
#define SHMQ_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* open file description locks, memory advice; before the first system header */
#endif

#include "anonymous.h"
#include "await.h"
#include "census.h"
#include "channel.h"
#include "envelope.h"
#include "publish.h"
#include "region.h"

/* What a result means, in a few words. */
static inline const char *shmq_strerror(int result)
{
    switch (result) {
    case SHMQ_OK: return "success";
    case SHMQ_FULL: return "the queue is full";
    case SHMQ_EMPTY: return "the queue is empty";
    case SHMQ_TIMEOUT: return "timed out";
    case SHMQ_INTERRUPTED: return "interrupted by a signal";
    case SHMQ_DROPPED: return "the queue is full and its policy is to drop";
    case SHMQ_TICKET: return "a published message was taken";
    case SHMQ_SHARED_BLOCK: return "others hold the published message, too";
    case SHMQ_CLOSED: return "the queue is closed or deleted";
    case SHMQ_SHUT: return "the queue is shut down";
    case SHMQ_NO_BLOCKS: return "no free block of that size";
    case SHMQ_NO_QUEUES: return "every queue record is in use";
    case SHMQ_NO_SPACE: return "no memory to reserve";
    case SHMQ_NOT_FOUND: return "no such queue";
    case SHMQ_IN_USE: return "the queue is claimed by another receiver";
    case SHMQ_STALE: return "the block is no longer this handle's";
    case SHMQ_CORRUPT: return "shared memory holds what no shmq process writes";
    case SHMQ_INVALID: return "an argument is out of range";
    case SHMQ_MISMATCH: return "the queue's first receiver has fixed another sharing or policy";
    case SHMQ_NO_INDEX: return "the topic has as many subscribers as it can";
    default: return "unknown result";
    }
}

#endif
