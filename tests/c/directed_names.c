/* SPDX-License-Identifier: MIT */
/* Directed tests: making, deleting and claiming queues by name. */
#include "sim_directed_tests.h"

static struct sim_process *const victim = &sim_processes[SIM_VICTIM];
static struct sim_process *other, *third;
static int result;
static int builder; /* a fibre that is stopped while it builds a queue */

static void stage_two(void)
{
    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    other = sim_player(1, 2);
    third = sim_player(2, 2);
    sim_impersonate(SIM_ROOT);
}

/* ---- U4: makers of one name ---- */

static void open_beta(struct sim_process *self) { result = sim_do_open(self, SIM_BETA, 2, true); }

static void open_beta_behind(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 3, true));
    SIM_AS(other, sim_post(other, &other->named[SIM_BETA].ref));
}

static void check_one_beta(void)
{
    SIM_CHECK(other->named[SIM_BETA].open, "a name could not be opened while another was at it");
    if (victim->attached && sim_state(SIM_VICTIM) == SIM_FINISHED)
        SIM_CHECK(result == SHMQ_OK && victim->named[SIM_BETA].ref.qid == other->named[SIM_BETA].ref.qid
                && victim->named[SIM_BETA].ref.epoch == other->named[SIM_BETA].ref.epoch,
            "two processes opened one name and have different queues");
    SIM_AS(third, sim_do_open(third, SIM_BETA, 1, false));
    SIM_CHECK(sim_fetch(third, &third->named[SIM_BETA].ref) == SHMQ_OK, "a message sent by name did not arrive");
}

void sim_test_two_makers(void)
{
    static const struct sim_stop goes_on = { stage_two, open_beta, open_beta_behind, check_one_beta, SIM_GOES_ON };
    static const struct sim_stop killed = { stage_two, open_beta, open_beta_behind, check_one_beta, SIM_DIES };
    static const struct sim_stop recovered = { stage_two, open_beta, open_beta_behind, check_one_beta,
        SIM_DIES_RECOVERED };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&recovered);
}

static void open_and_delete_behind(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 3, true));
    SIM_AS(other, sim_do_delete(other, SIM_BETA));
}

void sim_test_maker_against_deleter(void)
{
    static const struct sim_stop goes_on = { stage_two, open_beta, open_and_delete_behind, NULL, SIM_GOES_ON };
    static const struct sim_stop killed = { stage_two, open_beta, open_and_delete_behind, NULL, SIM_DIES };

    sim_stop_everywhere(&goes_on);
    sim_stop_everywhere(&killed);
}

/* ---- H3: a helper is stopped, and the record that it helps is another's when it goes on ---- */

static struct sim_process *const building = &sim_processes[1];
static uint64_t builder_stop;

static void open_gamma_body(void *argument) { sim_do_open(argument, SIM_GAMMA, 2, true); }

/* The third died after N1: dir names its queue, which is not open yet. */
static void stage_pending(void)
{
    struct shmq_queue_spec spec = { SHMQ_KIND_WORK, SHMQ_POLICY_BLOCK, 2, sim_name(SIM_BETA), 0, 0 };
    uint32_t qid, epoch;
    uint64_t dir;

    sim_stage(16);
    sim_player(SIM_VICTIM, 2);
    sim_player(1, 2);
    third = sim_player(2, 2);
    other = sim_player(3, 2);
    sim_impersonate(2);
    SIM_CHECK(shmq_names_build(&third->actor, &spec, &qid, &epoch) == SHMQ_OK, "a queue could not be built");
    dir = sim_map.header->dir;
    shmq_cas_seq_cst(&sim_map.header->dir, dir, shmq_dir_word(shmq_dir_version(dir) + 1, qid + 1), SHMQ_N1);
    sim_slay(third);
}

static void help(struct sim_process *self) { result = sim_do_open(self, SIM_DELTA, 2, false); }

/* Others settle the name, delete the queue, and one is half-way through building the next in the same record. */
static void settle_delete_and_build(void)
{
    SIM_AS(other, sim_do_open(other, SIM_BETA, 2, false));
    SIM_CHECK(other->named[SIM_BETA].open, "a pending name was not helped");
    SIM_AS(other, sim_do_delete(other, SIM_BETA));
    sim_impersonate(SIM_ROOT);
    builder = sim_spawn(open_gamma_body, building);
    SIM_CHECK(&sim_processes[builder] == building, "the builder is the second fibre");
    sim_run(builder, builder_stop);
}

/* The name is written last: an open queue that has not got it was opened too early. */
static void check_built_whole(void)
{
    const struct shmq_queue_ref *beta = &other->named[SIM_BETA].ref;
    uint64_t flags = beta->queue->flags;
    char text[SHMQ_NAME_WORDS * 8];

    shmq_name_load(sim_map.name[beta->qid].text, text);
    SIM_CHECK(!(flags & SHMQ_QUEUE_OPEN) || shmq_flags_epoch(flags) == beta->epoch || strcmp(text,
        sim_name(SIM_GAMMA)) == 0, "a helper opened a half-built queue");
    sim_run(builder, SIM_FOREVER);
    SIM_CHECK(sim_state(builder) == SIM_FINISHED && building->named[SIM_GAMMA].open, "the builder's queue is not open");
}

void sim_test_helper_of_former_queue(void)
{
    static const struct sim_stop stop = { stage_pending, help, settle_delete_and_build, check_built_whole,
        SIM_GOES_ON };

    for (builder_stop = 0; builder_stop < 140; builder_stop++)
        sim_stop_everywhere(&stop);
}

/* ---- U3: a deleter dies ---- */

static void stage_full_beta(void)
{
    stage_two();
    SIM_AS(victim, sim_do_open(victim, SIM_BETA, 2, true));
    SIM_AS(other, sim_do_open(other, SIM_BETA, 2, false));
    SIM_AS(third, sim_do_open(third, SIM_BETA, 2, false));
    SIM_AS(other, sim_do_claim(other, SIM_BETA, true));
    for (int i = 0; i < 3; i++) { /* one held, one requeued, one queued */
        SIM_AS(other, sim_post(other, &other->named[SIM_BETA].ref));
        if (i < 2)
            SIM_AS(i ? third : other, sim_fetch(i ? third : other, &other->named[SIM_BETA].ref));
    }
    sim_slay(third);
    sim_recover_all();
}

static void delete_beta(struct sim_process *self) { sim_do_delete(self, SIM_BETA); }

static void check_deleted(void)
{
    uint64_t flags = other->named[SIM_BETA].ref.queue->flags;

    sim_recover_all();
    if ((flags & SHMQ_QUEUE_OPEN) && shmq_flags_epoch(flags) == other->named[SIM_BETA].ref.epoch)
        return; /* it died before the step that decides */
    SIM_AS(other, result = sim_do_open(other, SIM_BETA, 2, true));
    SIM_CHECK(result == SHMQ_OK && sim_post(other, &other->named[SIM_BETA].ref) == SHMQ_OK,
        "a deleted name cannot be made again");
}

static void send_to_beta(void) { SIM_AS(other, sim_post(other, &other->named[SIM_BETA].ref)); }

void sim_test_deleter_dies(void)
{
    static const struct sim_stop killed = { stage_full_beta, delete_beta, NULL, check_deleted, SIM_DIES };
    static const struct sim_stop used = { stage_full_beta, delete_beta, send_to_beta, NULL, SIM_GOES_ON };
    static const struct sim_stop used_and_killed = { stage_full_beta, delete_beta, send_to_beta, check_deleted,
        SIM_DIES_RECOVERED };

    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&used);
    sim_stop_everywhere(&used_and_killed);
}

/* ---- M12: claims ---- */

static void stage_beta(void)
{
    stage_two();
    SIM_AS(victim, sim_do_open(victim, SIM_BETA, 2, true));
    SIM_AS(other, sim_do_open(other, SIM_BETA, 2, false));
}

static void claim_beta(struct sim_process *self) { result = sim_do_claim(self, SIM_BETA, false); }

static void claim_and_go(struct sim_process *self)
{
    sim_do_claim(self, SIM_BETA, false);
    sim_do_unclaim(self, SIM_BETA);
}

static void check_claimable(void)
{
    int claimed;

    sim_recover_all();
    SIM_AS(other, claimed = sim_do_claim(other, SIM_BETA, false));
    SIM_CHECK(claimed == SHMQ_OK, "the claim of a process that is gone stays: %d", claimed);
}

void sim_test_claimant_dies(void)
{
    static const struct sim_stop killed = { stage_beta, claim_beta, NULL, check_claimable, SIM_DIES };
    static const struct sim_stop gives_back = { stage_beta, claim_and_go, NULL, check_claimable, SIM_GOES_ON };

    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&gives_back);
}

static void remake_beta(void)
{
    SIM_AS(other, sim_do_delete(other, SIM_BETA));
    SIM_AS(other, sim_do_open(other, SIM_BETA, 2, true));
}

/* Whoever claims an incarnation that is gone does not keep the next one's receivers out. */
static void check_next_claimable(void)
{
    int claimed;

    SIM_CHECK(sim_victim_ended || result == SHMQ_CLOSED || result == SHMQ_IN_USE,
        "a claim on a deleted queue returned %d", result);
    SIM_AS(other, claimed = sim_do_claim(other, SIM_BETA, false));
    SIM_CHECK(claimed == SHMQ_OK, "a claim on a former incarnation keeps the next one's receiver out: %d", claimed);
}

static void remake_and_claim_beta(void)
{
    int claimed;

    remake_beta();
    SIM_AS(other, claimed = sim_do_claim(other, SIM_BETA, false));
    SIM_CHECK(claimed == SHMQ_OK || claimed == SHMQ_IN_USE, "claiming a new queue returned %d", claimed);
}

/* The victim gave back only what was its own. */
static void check_claim_kept(void)
{
    const struct sim_opened *opened = &other->named[SIM_BETA];

    if (opened->claim == SIM_EXCLUSIVE)
        SIM_CHECK(opened->ref.queue->claim == shmq_claim_word(other->actor.epoch, opened->ref.epoch, other->actor.slot),
            "a claim was given back by a stranger");
}

void sim_test_claimant_of_former_queue(void)
{
    static const struct sim_stop remade = { stage_beta, claim_beta, remake_beta, check_next_claimable, SIM_GOES_ON };
    static const struct sim_stop claimed = { stage_beta, claim_beta, remake_and_claim_beta, check_claim_kept,
        SIM_GOES_ON };

    sim_stop_everywhere(&remade);
    sim_stop_everywhere(&claimed);
}

/* Two who want different sharing at the same time: the first decides. */
static void claim_shared_behind(void)
{
    int claimed;

    SIM_AS(other, claimed = sim_do_claim(other, SIM_BETA, true));
    SIM_CHECK(claimed == SHMQ_OK || claimed == SHMQ_MISMATCH, "a shared claim returned %d", claimed);
}

static void check_one_sharing(void)
{
    SIM_CHECK((victim->named[SIM_BETA].claim == SIM_EXCLUSIVE) != (other->named[SIM_BETA].claim == SIM_SHARED),
        "a shared and an exclusive receiver, or neither");
}

void sim_test_sharing_is_decided_once(void)
{
    static const struct sim_stop stop = { stage_beta, claim_beta, claim_shared_behind, check_one_sharing, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}

/* A close gives back its own claims and nobody else's. */
static void stage_claimed(void)
{
    stage_beta();
    SIM_AS(other, sim_do_claim(other, SIM_BETA, false));
}

static void leave(struct sim_process *self) { sim_process_leave(self); }

void sim_test_close_leaves_claims_of_others(void)
{
    static const struct sim_stop left = { stage_claimed, leave, NULL, check_claim_kept, SIM_GOES_ON };
    static const struct sim_stop died = { stage_claimed, open_beta, NULL, check_claim_kept, SIM_DIES_RECOVERED };

    sim_stop_everywhere(&left);
    sim_stop_everywhere(&died);
}

/* A recoverer may stop or die at any step of giving up a dead process's claim. */
static void stage_dead_claimant(void)
{
    stage_beta();
    SIM_AS(third, sim_do_open(third, SIM_BETA, 2, false));
    SIM_AS(third, sim_do_claim(third, SIM_BETA, false));
    sim_slay(third);
}

static void recover_third(struct sim_process *self)
{
    (void)self;
    sim_recover(third->actor.slot);
}

void sim_test_recoverer_of_claimant(void)
{
    static const struct sim_stop killed = { stage_dead_claimant, recover_third, NULL, check_claimable, SIM_DIES };
    static const struct sim_stop stopped = { stage_dead_claimant, recover_third, remake_and_claim_beta,
        check_claim_kept, SIM_GOES_ON };

    sim_stop_everywhere(&killed);
    sim_stop_everywhere(&stopped);
}

/* ---- H3: dir still names a queue that is deleted ---- */

/* A helper died between Q2 and N2: beta is open and dir still names it. */
static void stage_open_pending(void)
{
    stage_pending();
    sim_impersonate(SIM_ROOT);
    for (uint32_t qid = sim_map.geometry.max_processes; qid < sim_map.geometry.queues; qid++)
        if (shmq_dir_queue(sim_map.header->dir) == qid + 1) {
            shmq_queue_set_open(&sim_map, qid, sim_map.queue[qid].flags);
            shmq_queue_ref_init(&sim_map, qid, shmq_flags_epoch(sim_map.queue[qid].flags), &other->named[SIM_BETA].ref);
        }
    victim->named[SIM_BETA] = other->named[SIM_BETA];
}

static void build_and_help(void)
{
    builder = sim_spawn(open_gamma_body, building);
    SIM_CHECK(&sim_processes[builder] == building, "the builder is the second fibre");
    sim_run(builder, builder_stop);
    sim_impersonate(other->fibre);
    sim_do_open(other, SIM_DELTA, 2, false);
    sim_impersonate(SIM_ROOT);
}

void sim_test_deleter_of_pending_name(void)
{
    static const struct sim_stop killed = { stage_open_pending, delete_beta, build_and_help, check_built_whole,
        SIM_DIES_RECOVERED };
    static const struct sim_stop stopped = { stage_open_pending, delete_beta, build_and_help, check_built_whole,
        SIM_GOES_ON };

    for (builder_stop = 0; builder_stop < 140; builder_stop += 5) {
        sim_stop_everywhere(&killed);
        sim_stop_everywhere(&stopped);
    }
}

/* An outdated handle gives up what it had, not what its process has of the next incarnation. */
static void stage_two_handles(void)
{
    stage_beta();
    SIM_AS(victim, sim_do_claim(victim, SIM_BETA, false));
    remake_beta();
    SIM_AS(victim, sim_do_open(victim, SIM_BETA, 2, false));
    SIM_AS(victim, sim_do_claim(victim, SIM_BETA, false));
}

static void close_outdated(struct sim_process *self) { sim_do_unclaim_outdated(self); }

static void check_still_claimed(void)
{
    int claimed;

    SIM_CHECK(victim->named[SIM_BETA].claim == SIM_EXCLUSIVE, "the next incarnation could not be claimed");
    SIM_AS(other, claimed = sim_do_claim(other, SIM_BETA, false));
    SIM_CHECK(claimed == SHMQ_IN_USE, "an outdated handle gave up the claim on the next incarnation: %d", claimed);
}

void sim_test_outdated_claim(void)
{
    static const struct sim_stop stop = { stage_two_handles, close_outdated, NULL, check_still_claimed, SIM_GOES_ON };

    sim_stop_everywhere(&stop);
}
