/* SPDX-License-Identifier: MIT */
/* The scenes: an operation, what comes before and after it, and what the survivor does meanwhile. */
#ifndef STEP_SCENES_H
#define STEP_SCENES_H

#include "acts.h"

/* What the survivor does. */
struct stage {
    void (*make)(void);
    void (*beside)(void);   /* while others stand, or are dead; also more than once */
    void (*finish)(void);   /* they are gone: audit, and leave nothing */
    void (*join)(void);     /* a process that is to recover joins */
    void (*mend)(void);     /* … and does it */
    void (*part)(void);     /* … and leaves */
};

struct scene {
    const char *name;
    const struct stage *stage;
    void (*before)(void);   /* the survivor, before the victim is born */
    void (*ready)(void);    /* the victim, attached, before its operation; NULL: it is not attached */
    void (*operate)(void);
    void (*after)(void);    /* the victim, after it, before it closes what it has open */
    /* How often label 1 is received in all: by the survivor from queues and from the topic, and by the victim. */
    struct { uint32_t least, most; } if_killed, if_frozen;
};

/* ---- a region that the survivor made ---------------------------------------------------------------------- */

/* A queue that the victim made, or had to delete, may be there or not. */
static void delete_other(void)
{
    if (open_other(&mine.region.self, false) != SHMQ_OK)
        return;
    world_drain_one(&mine, &other, world_got);
    CHECK_EQUAL(shmq_queue_delete(&mine.region.self, &other), SHMQ_OK);
}

static void audit_all(void)
{
    delete_other();
    world_audit_and_close();
}

static void join(void) { world_join(&own); }

static const struct stage shared = { world_make, world_exercise, audit_all, join, recover, leave };

/* ---- a region that the survivor makes, unless it is there -------------------------------------------------- */

static void open_and_exercise(void)
{
    if (!mine.region.map.admin)
        world_enter();
    world_exercise();
}

static void open_and_leave_open(void)
{
    open_region();
    check_ok();
}

static const struct stage absent = { world_none, open_and_exercise, world_audit_and_close, nothing, open_and_leave_open,
    leave };

/* ---- one whose name may go, or may be another region's ------------------------------------------------------ */

static struct member guest;

static void exercise_both(void)
{
    world_exercise();
    if (!guest.region.map.admin)
        world_join(&guest);
    world_send(&guest, &guest.next, world_label++);
    world_drain_one(&guest, &guest.next, world_got); /* the survivor's own next, or another region's */
}

static void close_both(void)
{
    shmq_region_close(&guest.region);
    world_audit_and_close();
}

static const struct stage named_anew = { world_make, exercise_both, close_both, join, recover, leave };

/* ---- one that the survivor leaves --------------------------------------------------------------------------- */

static void close_it(void) { shmq_region_close(&mine.region); }

static const struct stage left = { world_make, close_it, close_it, nothing, open_and_leave_open, leave };

/* ------------------------------------------------------------------------------------------------------------- */

static const struct scene scenes[] = {
    { "loan", &shared, nothing, nothing, lend, give_back_the_loan, { 0, 0 }, { 0, 0 } },
    { "give a loan back", &shared, nothing, lend_and_write, give_back, check_ok, { 0, 0 }, { 0, 0 } },
    { "send", &shared, nothing, lend_and_write, send_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "send and wake", &shared, survivor_sleeps, lend_and_write, send_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "receive", &shared, survivor_sends, nothing, receive_it, acknowledge, { 1, 1 }, { 1, 1 } },
    { "receive nothing", &shared, nothing, nothing, receive_it, nothing, { 0, 0 }, { 0, 0 } },
    { "release", &shared, survivor_sends, hold_it, release_it, count_it, { 0, 1 }, { 1, 1 } },
    { "edit", &shared, survivor_sends, hold_it, edit_it, end_edit, { 0, 1 }, { 1, 1 } },
    { "forward", &shared, survivor_sends, hold_it, forward_it, check_ok, { 1, 1 }, { 1, 1 } },
    { "send and drop", &shared, survivor_makes_other_to_drop, fill_other, send_and_drop, check_ok, { 0, 1 }, { 1, 1 } },
    { "make room", &shared, survivor_makes_other_to_drop, fill_other, make_room, check_ok, { 0, 0 }, { 0, 0 } },
    { "publish", &shared, nothing, lend_and_write, publish_it, check_ok, { 0, 1 }, { 1, 1 } },
    { "receive a publication", &shared, nothing, subscribe_and_publish, hear_it, acknowledge, { 1, 1 }, { 2, 2 } },
    { "release a publication", &shared, nothing, subscribe_publish_and_hear, release_it, count_it, { 1, 1 }, { 2, 2 } },
    { "subscribe", &shared, nothing, nothing, subscribe_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "unsubscribe", &shared, nothing, subscribe_and_publish, unsubscribe_it, check_ok, { 1, 1 }, { 1, 1 } },
    { "open a new queue", &shared, nothing, nothing, open_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "claim a queue", &shared, survivor_opens_other, find_other, claim_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "delete a queue", &shared, survivor_makes_other, find_other, delete_it, check_ok, { 0, 1 }, { 0, 0 } },
    { "wait", &shared, nothing, nothing, sleep_a_while, nothing, { 0, 0 }, { 0, 0 } },
    { "recover", &shared, survivor_sends, somebody_dies, recover, check_ok, { 1, 1 }, { 1, 1 } },
    { "attach", &shared, nothing, NULL, attach, check_ok, { 0, 0 }, { 0, 0 } },
    { "close", &shared, survivor_sends, hold_much, leave, nothing, { 1, 1 }, { 1, 1 } },
    { "attach as the last leaves", &left, nothing, NULL, attach, check_attached_or_gone, { 0, 0 }, { 0, 0 } },
    { "create", &absent, nothing, NULL, open_region, greet, { 0, 0 }, { 1, 1 } },
    { "close as the last", &absent, nothing, lend_and_write, leave, nothing, { 0, 0 }, { 0, 0 } },
    { "unlink", &named_anew, nothing, NULL, unlink_it, check_ok, { 0, 0 }, { 0, 0 } },
    { "list", &absent, somebody_leaves_beta, NULL, list_them, check_ok, { 0, 0 }, { 0, 0 } },
};

#endif
