/* SPDX-License-Identifier: MIT */
/* The operations that meet, what they find, and what must hold after. */
#include "sim_pair.h"

#include "sim_directed.h"

#define THIRD 2     /* a process that died before the run and waits to be recovered */
#define FOURTH 3    /* one that died and was recovered */

enum { ALPHA, BETA, GAMMA };

static struct sim_process *const self_of[2] = { &sim_processes[0], &sim_processes[1] };

static struct sim_process *peer_of(const struct sim_process *self) { return self == self_of[0] ? self_of[1]
    : self_of[0]; }

/* ---- operations on messages ---- */

static void send_to(struct sim_process *self, const struct shmq_queue_ref *target)
{
    struct shmq_queue_ref ref = *target;

    if (!ref.queue || sim_do_loan(self, 0) != SHMQ_OK) /* who left and returned has no inbox yet */
        return;
    if (sim_do_send(self, self->loan_count - 1, &ref) != SHMQ_OK)
        sim_do_return(self, self->loan_count - 1);
}

static void send_inbox(struct sim_process *self) { send_to(self, &peer_of(self)->inbox); }
static void send_alpha(struct sim_process *self) { send_to(self, &self->named[ALPHA].ref); }
static void receive_inbox(struct sim_process *self) { sim_do_receive(self, &self->inbox); }
static void receive_alpha(struct sim_process *self) { sim_do_receive(self, &self->named[ALPHA].ref); }
static void release(struct sim_process *self) { sim_do_release(self, 0); }
static void edit(struct sim_process *self) { sim_do_edit(self, 0); }

static void forward_inbox(struct sim_process *self)
{
    struct shmq_queue_ref ref = peer_of(self)->inbox;

    if (ref.queue)
        sim_do_forward(self, 0, &ref);
}

static void forward_beta(struct sim_process *self) { sim_do_forward(self, 0, &self->named[BETA].ref); }
static void forward_alpha(struct sim_process *self) { sim_do_forward(self, 0, &self->named[ALPHA].ref); }
static void receive_and_forward(struct sim_process *self)
{
    struct shmq_queue_ref ref = peer_of(self)->inbox;

    if (sim_do_receive(self, &self->named[ALPHA].ref) == SHMQ_OK && ref.queue)
        sim_do_forward(self, self->held_count - 1, &ref);
}

static void recover(struct sim_process *self) { sim_sweep(&self->actor); }
static void open_gamma(struct sim_process *self) { sim_do_open(self, GAMMA, 1, true); }
static void delete_alpha(struct sim_process *self) { sim_do_delete(self, ALPHA); }

static void remake_alpha(struct sim_process *self)
{
    sim_do_delete(self, ALPHA);
    sim_do_open(self, ALPHA, 1, true);
}

static void claim_beta(struct sim_process *self) { sim_do_claim(self, BETA, false); }
static void claim_beta_shared(struct sim_process *self) { sim_do_claim(self, BETA, true); }

static void remake_inbox(struct sim_process *self)
{
    sim_do_close_inbox(self);
    if (self->inbox_state == SIM_NO_INBOX)
        sim_do_open_inbox(self, 1);
}

static void shut_alpha(struct sim_process *self) { sim_do_shut(self, ALPHA); }
static void wait_beta(struct sim_process *self) { sim_do_wait(self, &self->named[BETA].ref, 1); }

static void leave_and_return(struct sim_process *self)
{
    int fibre = self->fibre;

    sim_process_leave(self);
    sim_process_attach(self, fibre);
}

/* ---- operations on blocks ---- */

static void loan_and_return(struct sim_process *self, uint32_t order)
{
    if (sim_do_loan(self, order) == SHMQ_OK)
        sim_do_return(self, self->loan_count - 1);
}

static void small_block(struct sim_process *self) { loan_and_return(self, 0); }
static void pair_of_granules(struct sim_process *self) { loan_and_return(self, 1); }
static void whole_unit(struct sim_process *self) { loan_and_return(self, 5); }
static void whole_region(struct sim_process *self) { loan_and_return(self, 6); }
static void keep_small(struct sim_process *self) { sim_do_loan(self, 0); }

static void return_small(struct sim_process *self)
{
    if (self->loan_count)
        sim_do_return(self, 0);
}


static void merge(struct sim_process *self)
{
    shmq_buddy_merge(&self->actor);
    sim_operation_end();
}

/* ---- operations on topics ---- */

static void publish(struct sim_process *self) { sim_do_publish(self, 0, 0, 0); }

static void receive_published(struct sim_process *self) { sim_do_receive(self, &self->subscription[0].ref); }

static void edit_published(struct sim_process *self)
{
    if (sim_do_edit(self, 0) == SHMQ_OK)
        sim_do_return(self, self->loan_count - 1);
}

static void unsubscribe(struct sim_process *self)
{
    sim_do_unsubscribe(self, 0);
    sim_do_release(self, 0);
    sim_do_unsubscribe(self, 0);
}

static void subscribe(struct sim_process *self) { sim_do_subscribe(self, 1, 0, 1, SHMQ_POLICY_DROP_NEWEST); }
static void open_topic(struct sim_process *self) { sim_do_topic(self, 1); }
static void close_at_once(struct sim_process *self) { sim_process_leave(self); }

enum kind { MESSAGES, BLOCKS, TOPICS };

static const struct {
    const char *name;
    void (*act)(struct sim_process *self);
    enum kind kind;
} operations[] = {
    { "send to inbox", send_inbox, MESSAGES },
    { "send to alpha", send_alpha, MESSAGES },
    { "receive from inbox", receive_inbox, MESSAGES },
    { "receive from alpha", receive_alpha, MESSAGES },
    { "release", release, MESSAGES },
    { "edit", edit, MESSAGES },
    { "forward to inbox", forward_inbox, MESSAGES },
    { "forward to beta", forward_beta, MESSAGES },
    { "forward to alpha", forward_alpha, MESSAGES },
    { "receive and forward", receive_and_forward, MESSAGES },
    { "recover", recover, MESSAGES },
    { "open gamma", open_gamma, MESSAGES },
    { "delete alpha", delete_alpha, MESSAGES },
    { "re-make alpha", remake_alpha, MESSAGES },
    { "claim beta", claim_beta, MESSAGES },
    { "claim beta shared", claim_beta_shared, MESSAGES },
    { "re-make inbox", remake_inbox, MESSAGES },
    { "shut alpha", shut_alpha, MESSAGES },
    { "wait for beta", wait_beta, MESSAGES },
    { "leave and return", leave_and_return, MESSAGES },
    { "small block", small_block, BLOCKS },
    { "two granules", pair_of_granules, BLOCKS },
    { "whole unit", whole_unit, BLOCKS },
    { "whole region", whole_region, BLOCKS },
    { "keep a small block", keep_small, BLOCKS },
    { "return a small block", return_small, BLOCKS },
    { "merge", merge, BLOCKS },
    { "recover blocks", recover, BLOCKS },
    { "publish", publish, TOPICS },
    { "receive published", receive_published, TOPICS },
    { "release published", release, TOPICS },
    { "edit published", edit_published, TOPICS },
    { "unsubscribe", unsubscribe, TOPICS },
    { "subscribe", subscribe, TOPICS },
    { "open a topic", open_topic, TOPICS },
    { "recover a subscriber", recover, TOPICS },
    { "leave a topic", close_at_once, TOPICS },
};

uint32_t sim_pair_count(void) { return sizeof operations / sizeof operations[0]; }
const char *sim_pair_name(uint32_t operation) { return operations[operation].name; }
bool sim_pair_meets(uint32_t a, uint32_t b) { return operations[a].kind == operations[b].kind; }

/* ---- what the operations find ---- */

static void know_queues(struct sim_process *process, uint32_t depth)
{
    sim_do_open_inbox(process, depth);
    sim_do_open(process, ALPHA, 2, true);
    sim_do_open(process, BETA, 1, true);
    sim_do_claim(process, ALPHA, true);
}

static void act_as(int fibre, void (*act)(struct sim_process *self))
{
    sim_impersonate(fibre);
    act(&sim_processes[fibre]);
}

/* Everybody holds a message of alpha and has one in the inbox; one more is in alpha, so that it is full with the next,
 * and one is requeued there. The third process is dead. */
static void set_messages(void)
{
    for (int fibre = 0; fibre <= FOURTH; fibre++) {
        sim_play(fibre);
        know_queues(&sim_processes[fibre], 2);
    }
    for (int fibre = 0; fibre <= FOURTH; fibre++) {
        act_as(0, send_alpha);
        act_as(fibre, receive_alpha);
    }
    sim_impersonate(SIM_ROOT);
    sim_process_died(FOURTH);
    sim_recover_all();
    act_as(0, send_alpha);
    act_as(0, send_inbox);
    act_as(1, send_inbox);
    sim_impersonate(0);
    send_to(&sim_processes[0], &sim_processes[THIRD].inbox);
    sim_impersonate(SIM_ROOT);
    sim_process_died(THIRD);
}

/* Two units, of which the first is split and holds a block of the first process and one of the third, which is dead. */
static void set_blocks(void)
{
    sim_do_loan(sim_play(0), 0);
    sim_play(1);
    sim_do_loan(sim_play(THIRD), 0);
    sim_impersonate(SIM_ROOT);
    sim_process_died(THIRD);
}

/* Both subscribe, one drops the oldest and one waits; both hold one message and another fills their queues. A third
 * subscriber is dead, and published and holds the first. */
static void set_topics(void)
{
    for (int fibre = 0; fibre <= THIRD; fibre++) {
        struct sim_process *process = sim_play(fibre);

        sim_do_topic(process, 0);
        sim_do_subscribe(process, 0, 0, 1, fibre ? SHMQ_POLICY_BLOCK : SHMQ_POLICY_DROP_OLDEST);
    }
    sim_announce(&sim_processes[THIRD]);
    for (int fibre = 0; fibre <= THIRD; fibre++)
        act_as(fibre, receive_published);
    sim_impersonate(0);
    sim_announce(&sim_processes[0]);
    for (int fibre = 0; fibre < 2; fibre++) {
        sim_impersonate(fibre);
        sim_do_loan(&sim_processes[fibre], 0); /* to be published */
    }
    sim_impersonate(SIM_ROOT);
    sim_process_died(THIRD);
}

static void set_up(enum kind kind)
{
    static const struct sim_shape shapes[] = { { 14, 5, 3, 0, 0, 0 }, { 64, 4, 1, 0, 0, 0 }, { 7, 4, 5, 0, 0, 0 } };

    sim_reset(1);
    sim_min_capacity_shift = 1;
    for (int fibre = 0; fibre <= FOURTH; fibre++)
        memset(&sim_processes[fibre], 0, sizeof sim_processes[fibre]);
    sim_world_make(&shapes[kind]);
    sim_ledger_reset();
    sim_processes_reset();
    if (kind == MESSAGES)
        set_messages();
    else if (kind == BLOCKS)
        set_blocks();
    else
        set_topics();
    sim_impersonate(SIM_ROOT);
}

/* ---- a run ---- */

static const struct sim_pair_run *current_run;

static void body(void *argument)
{
    struct sim_process *self = argument;

    operations[current_run->operation[self - sim_processes]].act(self);
}

/* Run until the end of the operation or of the process. A sleeper sleeps its slice. */
static void run_on(int fibre, uint64_t accesses)
{
    enum sim_state state = sim_run(fibre, accesses);

    if (accesses == SIM_FOREVER)
        while (state == SIM_ASLEEP) {
            sim_time_out(fibre);
            state = sim_run(fibre, SIM_FOREVER);
        }
    if (state != SIM_CRASHED)
        return;
    sim_process_died(fibre);
    if (current_run->recovered_at_once)
        sim_recover_all();
}

struct sim_pair_result sim_pair_run(const struct sim_pair_run *run)
{
    int first = run->first, other = 1 - run->first;
    struct sim_pair_result result;

    snprintf(sim_context, sizeof sim_context,
        "%s (0) with %s (1): first %d for %llu, other for %llu, victim %d after %llu%s",
        operations[run->operation[0]].name, operations[run->operation[1]].name, first,
        (unsigned long long)run->before_switch, (unsigned long long)run->before_return, run->victim,
        (unsigned long long)run->dies_after, run->recovered_at_once ? ", recovered at once" : "");
    set_up(operations[run->operation[0]].kind);
    current_run = run;
    for (int fibre = 0; fibre < 2; fibre++)
        sim_spawn(body, &sim_processes[fibre]);
    if (run->victim != SIM_NOBODY)
        sim_crash_after(run->victim, run->dies_after);
    run_on(first, run->before_switch);
    result.first_made = sim_accesses(first);
    run_on(other, run->before_return);
    result.other_made = sim_accesses(other);
    run_on(first, SIM_FOREVER);
    run_on(other, SIM_FOREVER);
    result.died = run->victim != SIM_NOBODY && sim_state(run->victim) == SIM_CRASHED;
    sim_totals.crashes += result.died;
    sim_totals.schedules++;
    sim_wind_up();
    return result;
}

/* ---- all runs ---- */

/* Every pair of switches, for one death or none. False: nobody died, for the operation had ended before. */
static bool all_switches(struct sim_pair_run *run, uint64_t *runs)
{
    struct sim_pair_result result = { 0, 0, false };
    bool died = false;

    for (run->first = 0; run->first < 2; run->first++)
        for (run->before_switch = 0;; run->before_switch++) {
            for (run->before_return = 1;; run->before_return++) {
                result = sim_pair_run(run);
                died = died || result.died;
                ++*runs;
                if (result.other_made < run->before_return)
                    break;
            }
            if (result.first_made < run->before_switch)
                break;
        }
    return died;
}

/* No stops where nobody else looks yet; beside publications none in the other kinds' steps, which have pairs. */
static void be_quiet(enum kind kind)
{
    static const enum shmq_step of_others[] = {
        SHMQ_S_LENGTH, SHMQ_S_LABEL, SHMQ_S_ENVELOPE, SHMQ_S2_TAIL, SHMQ_R2_HEAD, SHMQ_F1, SHMQ_F2, SHMQ_P_CACHED,
        SHMQ_W2,
        SHMQ_W3, SHMQ_Q1_SLOT, SHMQ_T_ZERO, /* T_ZERO: all tickets lie in one word here */
    };

    sim_quiet_step[SHMQ_Q1_FIELD] = sim_quiet_step[SHMQ_P1] = true;
    sim_quiet_step[SHMQ_T_WORDS] = sim_quiet_step[SHMQ_T_WANT] = true;
    for (uint32_t i = 0; i < sizeof of_others / sizeof of_others[0]; i++)
        sim_quiet_step[of_others[i]] = kind == TOPICS;
}

uint64_t sim_pair_exhaust(uint32_t a, uint32_t b)
{
    struct sim_pair_run run = { { a, b }, 0, 0, 0, SIM_NOBODY, 0, false };
    uint64_t runs = 0;

    be_quiet(operations[a].kind);
    all_switches(&run, &runs);
    for (run.victim = 0; run.victim < 2; run.victim++)
        for (run.dies_after = 1; all_switches(&run, &runs); run.dies_after++)
            continue;
    run.recovered_at_once = true;
    if (operations[a].act == receive_and_forward || operations[b].act == receive_and_forward)
        for (run.victim = 0; run.victim < 2; run.victim++)
            for (run.dies_after = 1; all_switches(&run, &runs); run.dies_after++)
                continue;
    return runs;
}
