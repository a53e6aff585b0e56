/* SPDX-License-Identifier: MIT */
/* Directed tests: blocks whose owner dies or stops while it allocates, splits, frees or merges. */
#include "sim_directed_tests.h"

static struct sim_process *other;
static uint32_t granules, order;

static void stage(void)
{
    sim_stage(granules);
    sim_play(SIM_VICTIM);
    other = sim_play(1);
}

static void loan(struct sim_process *self) { sim_do_loan(self, order); }

static void loan_and_return(struct sim_process *self)
{
    if (sim_do_loan(self, order) == SHMQ_OK)
        sim_do_return(self, 0);
}

static void loan_behind(void)
{
    sim_impersonate(other->fibre);
    for (uint32_t o = 0; o < 3 && other->loan_count < SIM_LOANS; o++)
        sim_do_loan(other, o);
}

static void merge_behind(void)
{
    sim_impersonate(other->fibre);
    shmq_buddy_merge(&other->actor);
}

static const uint32_t sizes[] = { 20, 32, 64, 100, 1024, 2048, 2100 };

static void for_all_sizes(const struct sim_stop *stop)
{
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (order = 0, granules = sizes[i]; 1u << order <= granules; order += 5)
            sim_stop_everywhere(stop);
}

void sim_test_allocator_dies(void)
{
    static const struct sim_stop killed = { stage, loan, NULL, NULL, SIM_DIES };
    static const struct sim_stop freeing = { stage, loan_and_return, NULL, NULL, SIM_DIES };
    static const struct sim_stop others_go_on = { stage, loan_and_return, loan_behind, NULL, SIM_DIES };

    for_all_sizes(&killed);
    for_all_sizes(&freeing);
    for_all_sizes(&others_go_on);
}

void sim_test_allocator_stops(void)
{
    static const struct sim_stop loans = { stage, loan_and_return, loan_behind, NULL, SIM_GOES_ON };
    static const struct sim_stop merges = { stage, loan_and_return, merge_behind, NULL, SIM_GOES_ON };

    for_all_sizes(&loans);
    for_all_sizes(&merges);
}

/* ---- a recoverer that dies too ---- */

static void stage_dead_owner(void)
{
    stage();
    sim_impersonate(other->fibre);
    for (uint32_t o = 0; o < 3; o++)
        sim_do_loan(other, o);
    sim_slay(other);
}

static void recover(struct sim_process *self) { sim_sweep(&self->actor); }

void sim_test_recoverer_of_owner_dies(void)
{
    static const struct sim_stop killed = { stage_dead_owner, recover, NULL, NULL, SIM_DIES };

    for_all_sizes(&killed);
}

/* An allocator or freer dies at any step, then its recoverer does. */
static uint64_t owner_stop;
static bool owner_ended;

static void loan_and_return_body(void *argument) { loan_and_return(argument); }

static void stage_unfinished(void)
{
    sim_stage(granules);
    other = sim_play(SIM_VICTIM);
    owner_ended = sim_die_after(other, loan_and_return_body, owner_stop);
}

static void recover_other(struct sim_process *self)
{
    (void)self;
    sim_recover(other->actor.slot);
}

void sim_test_allocator_and_recoverer_die(void)
{
    static const struct sim_stop killed = { stage_unfinished, recover_other, NULL, NULL, SIM_DIES };

    for (uint32_t i = 0; i < 5; i++)
        for (granules = sizes[i], order = 0; order <= 5 && 1u << order <= granules; order += 5)
            for (owner_stop = 0, owner_ended = false; !owner_ended; owner_stop++)
                sim_stop_everywhere(&killed);
}

/* ---- a death in mid-merge ---- */

static void stage_empty_word(void)
{
    stage();
    sim_impersonate(SIM_VICTIM);
    sim_do_loan(&sim_processes[SIM_VICTIM], 0);
    sim_do_return(&sim_processes[SIM_VICTIM], 0);
}

static void merge(struct sim_process *self)
{
    shmq_buddy_merge(&self->actor);
    sim_operation_end();
}

static void stage_merged_word(void)
{
    stage_empty_word();
    merge_behind();
}

/* It found the word empty, and stood still until somebody else had merged it. */
static void merge_again(struct sim_process *self)
{
    uint32_t word = self->actor.word_hint[0];

    if (sim_map.geometry.tiers > 1 && (word + 1) * SHMQ_UNITS <= granules)
        shmq_buddy_try_merge(&self->actor, 0, word);
    sim_operation_end();
}

void sim_test_merge_stops_or_dies(void)
{
    static const struct sim_stop killed = { stage_empty_word, merge, NULL, NULL, SIM_DIES };
    static const struct sim_stop late = { stage_merged_word, merge_again, NULL, NULL, SIM_DIES };
    static const struct sim_stop stopped = { stage_empty_word, merge, loan_behind, NULL, SIM_GOES_ON };

    for_all_sizes(&killed);
    for_all_sizes(&late);
    for_all_sizes(&stopped);
}

/* ---- U14: the scan sees every block in use ---- */

static bool is_unsettled(uint32_t block)
{
    uint64_t word;
    uint32_t unit = 0, found;

    while ((found = shmq_scan_unsettled(&sim_map, shmq_block_owner(sim_map.block[block].word), &unit, &word))
        < granules)
        if (found == block)
            return true;
    return false;
}

/* Every block word that is not FREE is visited, or stands in the word that its owner has told. */
static void check_scan(void)
{
    struct shmq_scan scan;
    uint32_t next;

    shmq_scan_begin(&scan, &sim_map, 0);
    next = shmq_scan_next(&scan);
    for (uint32_t block = 0; block < granules; block++) {
        SIM_CHECK(next <= block || shmq_block_state(sim_map.block[block].word) == SHMQ_STATE_FREE
                || is_unsettled(block), "the scan skips block %u of %u, which is in use", block, granules);
        if (next == block)
            next = shmq_scan_next(&scan);
    }
}

void sim_test_scan_sees_splits(void)
{
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        granules = sizes[i];
        for (uint32_t seed = 0; seed < 20; seed++) {
            sim_stopped(granules, seed);
            stage();
            sim_reset(seed);
            sim_impersonate(other->fibre);
            while (other->loan_count < SIM_LOANS) {
                order = sim_random(1 + sim_map.geometry.max_order);
                other->actor.word_hint[0] = sim_random(sim_map.geometry.word_count[0]);
                if (sim_do_loan(other, order) != SHMQ_OK)
                    break;
                check_scan();
            }
            sim_wind_up();
        }
    }
}
