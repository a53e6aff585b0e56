/* SPDX-License-Identifier: MIT */
/* The project's headers under Relacy, which runs threads in every order and lets each load return what the memory model
 * of C11 allows.
 *
 * The headers are compiled with the simulator's hooks, so every access comes here with its step and its order. A word
 * that two threads touch, and one of them writes, becomes a *cell*, an rl::atomic; what only one thread touches, or all
 * only read, stays plain memory and makes no interleavings. Which words those are is learnt: where one more shows, the
 * search begins again. The region is set up once, and put back before each execution from a journal of its writes.
 *
 * Accesses of one kind (step, kind, place, order) can be made weaker, and a step can be left out, to show that some
 * scene notices.
 */
#ifndef STAGE_H
#define STAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <iostream>
#include <streambuf>

#define SHMQ_SIMULATOR
#include "shmq/await.h"
#include "shmq/publish.h"
#include "shmq/recover.h"

#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno

/* ---- accesses and their weakenings ------------------------------------------------------------------------ */

enum stage_kind { STAGE_LOAD, STAGE_STORE, STAGE_CAS, STAGE_FETCH, STAGE_KINDS };

/* Which record a word belongs to. */
#define STAGE_PLACES(X) \
    X(SLOT) X(FLAGS) X(HINT) X(FUTEX) X(REQUEUED) X(BLOCK) X(TICKETS) X(PARCEL) X(BUDDY) X(TOPIC) X(OTHER)

enum stage_place {
#define STAGE_PLACE(name) STAGE_##name,
    STAGE_PLACES(STAGE_PLACE)
#undef STAGE_PLACE
    STAGE_PLACE_COUNT
};

#define STAGE_ORDERS (SHMQ_SEQ_CST + 1)

struct stage_access {
    enum shmq_step step;
    enum stage_kind kind;
    enum stage_place place;
    enum shmq_order order;
};

/* How a step is left out. APART: a compare-and-swap, or a fetch, loads and stores in two steps, so that what another
 * writes in between is lost. UNDONE: it claims success and writes nothing, a store writes nothing, and a load returns
 * what the thread met there last. */
enum stage_leaving { STAGE_APART, STAGE_UNDONE };

/* To which order each kind of access is weakened. SHMQ_ACQ_REL stands for acquire of a load and release of a store.
 *
 * One step can be left out, whatever it accesses. READ: none is. */
struct stage_orders {
    uint8_t to[SHMQ_STEP_COUNT][STAGE_KINDS][STAGE_PLACE_COUNT][STAGE_ORDERS];
    enum shmq_step left_out;
    enum stage_leaving leaving;
};

/* Which steps a scene met, and which accesses to cells. */
struct stage_seen {
    bool step[SHMQ_STEP_COUNT];
    bool met[SHMQ_STEP_COUNT][STAGE_KINDS][STAGE_PLACE_COUNT][STAGE_ORDERS];
};

/* ---- the world that a scene acts in ----------------------------------------------------------------------- */

#define STAGE_ACTORS 3
#define STAGE_GRANULES 4
#define STAGE_HOLDS 4

/* Private memory of the threads, put back before each execution. */
struct stage_world {
    struct shmq_actor actor[STAGE_ACTORS];
    struct shmq_queue_ref ref[STAGE_ACTORS];
    struct shmq_hold hold[STAGE_HOLDS];
    struct shmq_message message[STAGE_HOLDS];
    struct shmq_publisher publisher;
    int result[STAGE_HOLDS];
    uint64_t count;
};

struct stage_scene {
    const char *name;
    unsigned threads;
    int preemptions;        /* at most so many; negative: all schedules */
    int more;               /* in the long run */
    void (*set_up)(void);
    void (*act)(unsigned thread);
    void (*check)(void);
};

#define STAGE_JOURNAL 4096u
#define STAGE_CELLS 64u
#define STAGE_ADMIN (8u << 20)
#define STAGE_WORDS (STAGE_ADMIN / 8)

typedef rl::atomic<uint64_t> stage_cell;

struct stage {
    const struct stage_scene *scene;
    const struct stage_orders *orders;
    struct stage_seen *seen;
    struct shmq_map map;
    struct stage_world world, first;
    bool acting;            /* threads run: accesses are modelled */
    bool set;               /* writes are noted in the journal */
    bool grown;             /* one more word has become a cell in this execution */
    uint64_t *cell_word[STAGE_CELLS];
    uint64_t last[STAGE_ACTORS][STAGE_CELLS];   /* what each thread met there last */
    alignas(stage_cell) unsigned char cell[STAGE_CELLS][sizeof(stage_cell)];
    unsigned cells;
    int16_t cell_of[STAGE_WORDS];   /* its number + 1 */
    uint8_t touched[STAGE_WORDS];   /* by which threads; high bit: written */
    uint64_t *journal_word[STAGE_JOURNAL];
    uint64_t journal_old[STAGE_JOURNAL];
    unsigned journal;
    alignas(rl::var<uint64_t>) unsigned char payload[STAGE_GRANULES][sizeof(rl::var<uint64_t>)];
    uint64_t plain_payload[STAGE_GRANULES];
};

static struct stage stage;

static inline stage_cell *stage_cell_at(unsigned number) { return (stage_cell *)(void *)stage.cell[number]; }

static inline rl::var<uint64_t> *stage_payload_at(uint32_t block)
{
    return (rl::var<uint64_t> *)(void *)stage.payload[block];
}

static inline unsigned stage_index(const uint64_t *word)
{
    return (unsigned)(word - (const uint64_t *)(void *)stage.map.admin);
}

static inline enum stage_place stage_place_of(const uint64_t *word)
{
    const struct shmq_geometry *g = &stage.map.geometry;
    uint64_t at = (uint64_t)((const unsigned char *)word - stage.map.admin);

    if (at >= g->slot_at)
        return STAGE_SLOT;
    if (at >= g->block_at) {
        uint64_t in = (at - g->block_at) % sizeof(struct shmq_block);

        if (in == 0)
            return STAGE_BLOCK;
        return in >= offsetof(struct shmq_block, m) && in < offsetof(struct shmq_block, envelope) ? STAGE_TICKETS
                                                                                                    : STAGE_PARCEL;
    }
    if (at >= g->word_at[0])
        return STAGE_BUDDY;
    if (at >= g->topic_at)
        return STAGE_TOPIC;
    if (at >= g->queue_at && at < g->name_at) {
        switch ((at - g->queue_at) % sizeof(struct shmq_queue)) {
        case offsetof(struct shmq_queue, flags): return STAGE_FLAGS;
        case offsetof(struct shmq_queue, tail): case offsetof(struct shmq_queue, head): return STAGE_HINT;
        case offsetof(struct shmq_queue, receivers_seq): case offsetof(struct shmq_queue, senders_seq):
            return STAGE_FUTEX;
        case offsetof(struct shmq_queue, requeued): case offsetof(struct shmq_queue, requeued_done):
            return STAGE_REQUEUED;
        default: return STAGE_OTHER;
        }
    }
    return STAGE_OTHER;
}

static inline const char *stage_step_name(enum shmq_step step)
{
#define STAGE_STEP_NAME(name, what) #name,
    static const char *const names[] = { SHMQ_STEPS(STAGE_STEP_NAME) };
#undef STAGE_STEP_NAME

    return names[step];
}

/* Is the step left out, and so? Not while the scene is set. */
static inline bool stage_leaves(enum shmq_step step, enum stage_leaving leaving)
{
    return stage.acting && step != SHMQ_READ && step == stage.orders->left_out && leaving == stage.orders->leaving;
}

/* A thread has failed its part; the execution ends here. */
static inline void stage_fail(const char *what)
{
    if (!rl::context::is_instance()) {
        fprintf(stderr, "%s: %s, before it began\n", stage.scene->name, what);
        abort();
    }
    rl::ctx().fail_test(what, rl::test_result_user_assert_failed, rl::debug_info(what, "scene", 0));
}

#define STAGE_REQUIRE(condition) \
    do {                         \
        if (!(condition))        \
            stage_fail(#condition); \
    } while (0)

/* ---- the hooks -------------------------------------------------------------------------------------------- */

static inline void stage_make_cell(uint64_t *word)
{
    unsigned index = stage_index(word);

    stage.grown = true;
    if (stage.cell_of[index])
        return;
    if (stage.cells == STAGE_CELLS)
        abort();
    stage.cell_word[stage.cells++] = word;
    stage.cell_of[index] = (int16_t)-1; /* from the next execution on */
}

/* The cell of a word, or NULL where it is plain. */
static inline stage_cell *stage_meet(uint64_t *word, bool writes)
{
    unsigned index = stage_index(word);

    if (!stage.acting)
        return NULL;
    if (stage.cell_of[index] > 0)
        return stage_cell_at((unsigned)stage.cell_of[index] - 1);
    stage.touched[index] |= (uint8_t)(1u << rl::ctx().threadx_->index_ | (writes ? 0x80 : 0));
    if (stage.touched[index] & 0x80 && (stage.touched[index] & 0x7f & ((stage.touched[index] & 0x7f) - 1)))
        stage_make_cell(word);
    return NULL;
}

static inline void stage_write(uint64_t *word, uint64_t value)
{
    if (stage.set) {
        if (stage.journal == STAGE_JOURNAL)
            abort();
        stage.journal_word[stage.journal] = word;
        stage.journal_old[stage.journal++] = *word;
    }
    *word = value;
}

static inline rl::memory_order stage_order(const struct stage_access *access)
{
    static const rl::memory_order orders[] = { rl::mo_relaxed, rl::mo_acquire, rl::mo_release, rl::mo_acq_rel,
        rl::mo_seq_cst };
    uint8_t order = stage.orders->to[access->step][access->kind][access->place][access->order];

    stage.seen->met[access->step][access->kind][access->place][access->order] = true;
    if (order == SHMQ_ACQ_REL && access->kind == STAGE_LOAD)
        order = SHMQ_ACQUIRE;
    if (order == SHMQ_ACQ_REL && access->kind == STAGE_STORE)
        order = SHMQ_RELEASE;
    return orders[order];
}

/* What the running thread met last in the cell. */
static inline uint64_t *stage_last(const stage_cell *cell)
{
    return &stage.last[rl::ctx().threadx_->index_][cell - stage_cell_at(0)];
}

/* What the word holds by now, whatever a thread would see. No access. */
static inline uint64_t stage_newest(const uint64_t *word)
{
    int16_t cell = stage.cell_of[stage_index(word)];

    return stage.acting && cell > 0 ? stage_cell_at((unsigned)cell - 1)->debug_value() : *word;
}

#define STAGE_ACCESS(word, step, kind, order) \
    struct stage_access access = { step, kind, stage_place_of(word), order }; \
    if (stage.acting)                                                         \
        stage.seen->step[step] = true;                                        \
    rl::debug_info info(stage_step_name(step), "step", (unsigned)access.place)

uint64_t shmq_sim_load(const uint64_t *word, enum shmq_step step, enum shmq_order order)
{
    stage_cell *cell = stage_meet(const_cast<uint64_t *>(word), false);
    STAGE_ACCESS(word, step, STAGE_LOAD, order);

    if (!cell)
        return *word;
    if (!stage_leaves(step, STAGE_UNDONE))
        *stage_last(cell) = cell->load(stage_order(&access), info);
    return *stage_last(cell);
}

void shmq_sim_store(uint64_t *word, uint64_t value, enum shmq_step step, enum shmq_order order)
{
    stage_cell *cell = stage_meet(word, true);
    STAGE_ACCESS(word, step, STAGE_STORE, order);

    if (stage_leaves(step, STAGE_UNDONE))
        return;
    if (cell)
        cell->store(value, stage_order(&access), info);
    else
        stage_write(word, value);
}

bool shmq_sim_cas(uint64_t *word, uint64_t expected, uint64_t desired, enum shmq_step step, enum shmq_order order)
{
    stage_cell *cell = stage_meet(word, true);
    STAGE_ACCESS(word, step, STAGE_CAS, order);

    if (stage_leaves(step, STAGE_UNDONE))
        return true;
    if (cell && stage_leaves(step, STAGE_APART)) {
        if (cell->load(rl::mo_seq_cst, info) != expected)
            return false;
        cell->store(desired, rl::mo_seq_cst, info);
        return true;
    }
    if (cell) {
        rl::memory_order success = stage_order(&access);

        return cell->compare_exchange(rl::bool_t<false>(), expected, desired, success,
            success == rl::mo_relaxed ? rl::mo_relaxed : rl::mo_acquire, info);
    }
    if (*word != expected)
        return false;
    stage_write(word, desired);
    return true;
}

#define STAGE_FETCH(name, type, operation) \
    uint64_t shmq_sim_fetch_##name(uint64_t *word, uint64_t operand, enum shmq_step step, enum shmq_order order)     \
    {                                                                                                               \
        stage_cell *cell = stage_meet(word, true);                                                                  \
        uint64_t old = *word;                                                                                       \
        STAGE_ACCESS(word, step, STAGE_FETCH, order);                                                               \
                                                                                                                    \
        if (stage_leaves(step, STAGE_UNDONE))                                                                       \
            return cell ? cell->load(rl::mo_seq_cst, info) : old;                                                   \
        if (cell && stage_leaves(step, STAGE_APART)) {                                                              \
            old = cell->load(rl::mo_seq_cst, info);                                                                 \
            cell->store(old operation operand, rl::mo_seq_cst, info);                                               \
            return old;                                                                                             \
        }                                                                                                           \
        if (cell)                                                                                                   \
            return cell->rmw(rl::rmw_type_t<rl::type>(), operand, stage_order(&access), info);                      \
        stage_write(word, old operation operand);                                                                   \
        return old;                                                                                                 \
    }

STAGE_FETCH(or, rmw_type_or, |)
STAGE_FETCH(and, rmw_type_and, &)
STAGE_FETCH(add, rmw_type_add, +)

/* ---- the operating system --------------------------------------------------------------------------------- */

static inline int stage_reserve(void *context, uint64_t offset, uint64_t bytes)
{
    (void)context;
    return offset + bytes <= STAGE_ADMIN ? SHMQ_OK : SHMQ_NO_SPACE;
}

/* Without a time-out: a wake that is missed is a deadlock, and reported. The kernel compares under its own lock, so the
 * newest value counts; nothing else is ordered. */
static inline int stage_sleep(void *context, uint64_t *word, uint32_t expected, uint64_t ns)
{
    stage_cell *cell = stage_meet(word, true);
    rl::debug_info info("sleep", "futex", 0);

    (void)context;
    (void)ns;
    if (!cell) {
        stage_make_cell(word);
        stage_fail("a word more is a cell");
    }
    rl::ctx().sched();
    if ((uint32_t)cell->debug_value() == expected)
        cell->wait(rl::ctx(), false, false, info);
    return SHMQ_OK;
}

static inline void stage_wake(void *context, uint64_t *word, uint32_t sleepers)
{
    stage_cell *cell = stage_meet(word, true);
    rl::debug_info info("wake", "futex", 0);

    (void)context;
    if (!cell)
        return;
    rl::ctx().sched();
    cell->wake(rl::ctx(), sleepers, info);
}

static inline uint64_t stage_now(void *context)
{
    (void)context;
    return 0;
}

static inline void stage_yield(void *context) { (void)context; }

static const struct shmq_ops stage_ops = { stage_reserve, stage_sleep, stage_wake, stage_now, stage_yield, NULL };

/* ---- payloads: memory that must never be raced for -------------------------------------------------------- */

static inline void stage_fill(uint32_t block, uint64_t value)
{
    if (stage.acting)
        (*stage_payload_at(block))(rl::debug_info("fill", "payload", block)).store(value);
    else
        stage.plain_payload[block] = value;
}

static inline uint64_t stage_look(uint32_t block)
{
    return stage.acting ? (*stage_payload_at(block))(rl::debug_info("look", "payload", block)).load()
                        : stage.plain_payload[block];
}

/* ---- one execution ---------------------------------------------------------------------------------------- */

static inline void stage_raise(void)
{
    while (stage.journal) {
        stage.journal--;
        *stage.journal_word[stage.journal] = stage.journal_old[stage.journal];
    }
    memcpy(&stage.world, &stage.first, sizeof stage.world);
    stage.grown = false;
    for (unsigned i = 0; i < stage.cells; i++) {
        stage.cell_of[stage_index(stage.cell_word[i])] = (int16_t)(i + 1);
        ::new (stage.cell[i]) stage_cell(*stage.cell_word[i]);
        for (unsigned thread = 0; thread < STAGE_ACTORS; thread++)
            stage.last[thread][i] = *stage.cell_word[i];
    }
    for (uint32_t block = 0; block < STAGE_GRANULES; block++)
        ::new (stage.payload[block]) rl::var<uint64_t>(stage.plain_payload[block]);
    stage.acting = true;
}

static inline void stage_strike(void)
{
    stage.acting = false;
    for (unsigned i = 0; i < stage.cells; i++) {
        if (stage.cell_of[stage_index(stage.cell_word[i])] <= 0)
            continue;
        stage_write(stage.cell_word[i], stage_cell_at(i)->debug_value());
        stage_cell_at(i)->~stage_cell();
    }
    for (uint32_t block = 0; block < STAGE_GRANULES; block++)
        stage_payload_at(block)->~var();
    if (stage.grown)
        stage_fail("a word more is a cell");
    stage.scene->check();
}

template <rl::thread_id_t threads>
struct stage_suite : rl::test_suite<stage_suite<threads>, threads> {
    void before() { stage_raise(); }
    void thread(unsigned number) { stage.scene->act(number); }
    void after() { stage_strike(); }
};

/* What a process that has played a scene leaves behind. In memory that children share. */
struct stage_report {
    struct stage_seen seen;
    rl::test_result_e result;
    bool grown;             /* there is one more cell: play again */
    uint64_t executions;
    unsigned cells;
    unsigned cell[STAGE_CELLS]; /* indices of their words */
    char failing[1 << 16];  /* the execution that failed, as Relacy notes it */
};

/* Play the scene in all its executions, or again the one that failed, and show its history. A process plays once:
 * Relacy does not survive a failing execution. */
/* A stream over memory, because Relacy takes operator new over: nothing may be allocated while it plays. */
struct stage_buffer : std::streambuf {
    stage_buffer(char *text, size_t written, size_t room)
    {
        setg(text, text, text + written);
        setp(text, text + room);
    }
};

template <typename suite, typename scheduler>
struct stage_context : rl::context_impl<suite, scheduler> {
    typedef typename scheduler::shared_context_t shared_context_t;
    using rl::context_impl<suite, scheduler>::context_impl;
};

template <typename context>
static inline void stage_search(struct stage_report *report, rl::test_params &params, bool again)
{
    typename context::shared_context_t *shared = ::new typename context::shared_context_t();
    context *search = ::new context(params, *shared);
    stage_buffer read(report->failing, again ? strlen(report->failing) : 0, 0);
    stage_buffer noted(report->failing, 0, again ? 0 : sizeof report->failing - 1);
    std::istream from(&read);
    std::ostream failing(&noted);

    report->result = search->simulate(failing, from, again);
    report->executions = (uint64_t)params.stop_iteration;
    report->grown = report->result != rl::test_result_success && stage.grown;
    report->cells = stage.cells;
    for (unsigned i = 0; i < stage.cells; i++)
        report->cell[i] = stage_index(stage.cell_word[i]);
}

template <rl::thread_id_t threads>
static inline void stage_play_with(struct stage_report *report, rl::test_params &params, bool again)
{
    typedef stage_suite<threads> suite;

    if (stage.scene->preemptions < 0) {
        stage_search<stage_context<suite, rl::full_search_scheduler<threads>>>(report, params, again);
    } else {
        params.context_bound = (unsigned)stage.scene->preemptions;
        stage_search<stage_context<suite, rl::context_bound_scheduler<threads>>>(report, params, again);
    }
}

static inline void stage_play(struct stage_report *report, bool again)
{
    static char nothing[1];
    static stage_buffer discarded(nothing, 0, 0);
    static std::ostream silent(&discarded);
    static rl::test_params params;

    memset(report->failing, 0, again ? 0 : sizeof report->failing);
    params.output_stream = again ? &std::cout : &silent;
    params.progress_stream = &silent;
    params.collect_history = again;
    if (stage.scene->threads == 2)
        stage_play_with<2>(report, params, again);
    else
        stage_play_with<3>(report, params, again);
}

/* Make the region and set the scene, with the cells that are known. */
static inline void stage_set(const struct stage_scene *scene, struct stage_report *report,
    const struct stage_orders *orders)
{
    struct shmq_geometry geometry;
    void *admin = mmap(NULL, STAGE_ADMIN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    stage.scene = scene;
    stage.seen = &report->seen;
    stage.orders = orders;
    if (admin == MAP_FAILED || shmq_geometry_init(&geometry, 9, STAGE_GRANULES, STAGE_ACTORS, 4) != SHMQ_OK
        || geometry.admin_size > STAGE_ADMIN)
        abort();
    shmq_map_init(&stage.map, &geometry, admin, malloc(geometry.data_size), &stage_ops);
    shmq_buddy_format(&stage.map);
    for (uint32_t slot = 0; slot < STAGE_ACTORS; slot++) {
        shmq_actor_init(&stage.world.actor[slot], &stage.map, slot, 0);
        shmq_process_enter(&stage.world.actor[slot], "actor", 1000 + slot, 1, 1);
    }
    scene->set_up();
    memcpy(&stage.first, &stage.world, sizeof stage.first);
    for (; stage.cells < report->cells; stage.cells++)
        stage.cell_word[stage.cells] = (uint64_t *)(void *)stage.map.admin + report->cell[stage.cells];
    stage.set = true;
}

#endif
