/* SPDX-License-Identifier: MIT */
/* Two protocols of region.h as exhaustive models: a region's life, and the private directory that it is made in.
 *
 * Every interleaving of the processes' steps and every crash is visited. A step is what the kernel or one atomic makes
 * indivisible. Each mended step can be dropped (a mutant); the model must then find what goes wrong, else it proves
 * nothing. The steps are those of life.h, region.h and making.h, written anew.
 */
#include <stdbool.h>
#include <stdint.h>

#include "check.h"

/* ---- visiting every state -------------------------------------------------------------------------------- */

#define PROCESSES 3
#define STATE_BYTES 48

struct state {
    int8_t byte[STATE_BYTES];
};

struct model {
    const char *name;
    void (*begin)(struct state *state);
    int (*choices)(const struct state *state, int process);          /* 0: the process has finished or is dead */
    void (*step)(struct state *state, int process, int choice);
    void (*crash)(struct state *state, int process);
    const char *(*wrong)(const struct state *state);                 /* what must never be */
    const char *(*left)(const struct state *state);                  /* what must not be at the end */
};

static int mutant; /* 0: none */

#define STATES_AT_MOST 6000000u
#define TABLE_SIZE (1u << 24)

static struct state *states;
static uint32_t *table;     /* state number + 1, by hash */
static uint32_t (*next_state)[PROCESSES]; /* one successor a process, without crashes; itself where there is none */
static uint32_t state_count;

static uint32_t state_hash(const struct state *state)
{
    uint64_t hash = 14695981039346656037ull, word;

    for (size_t i = 0; i < STATE_BYTES; i += 8) {
        memcpy(&word, &state->byte[i], 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    return (uint32_t)(hash >> 32) & (TABLE_SIZE - 1);
}

/* The number of a state, which is new or known. */
static uint32_t state_number(const struct state *state)
{
    uint32_t at = state_hash(state);

    while (table[at]) {
        if (!memcmp(&states[table[at] - 1], state, sizeof *state))
            return table[at] - 1;
        at = (at + 1) & (TABLE_SIZE - 1);
    }
    CHECK(state_count < STATES_AT_MOST);
    states[state_count] = *state;
    table[at] = ++state_count;
    return state_count - 1;
}

/* Visit the successors of a state. Returns whether any process can still step. */
static bool visit(const struct model *model, uint32_t number)
{
    bool alive = false;

    for (int process = 0; process < PROCESSES; process++) {
        struct state before = states[number], after;
        int choices = model->choices(&before, process);

        next_state[number][process] = number;
        for (int choice = 0; choice < choices; choice++) {
            after = before;
            model->step(&after, process, choice);
            if (choice == 0)
                next_state[number][process] = state_number(&after);
            else
                (void)state_number(&after);
        }
        if (choices) {
            after = before;
            model->crash(&after, process);
            if (memcmp(&after, &before, sizeof after))
                (void)state_number(&after);
            alive = true;
        }
    }
    return alive;
}

/* From every state some schedule without a further crash leads to an end: nobody waits for ever. */
static const char *stuck(const struct model *model)
{
    bool *ends = (bool *)calloc(state_count, 1), changed = true;
    const char *what = NULL;

    while (changed) {
        changed = false;
        for (uint32_t i = state_count; i-- > 0;) {
            bool alive = false;

            for (int process = 0; process < PROCESSES && !ends[i]; process++) {
                alive |= model->choices(&states[i], process) > 0;
                if (ends[next_state[i][process]])
                    ends[i] = changed = true;
            }
            if (!ends[i] && !alive)
                ends[i] = changed = true;
        }
    }
    for (uint32_t i = 0; i < state_count; i++)
        if (!ends[i])
            what = "somebody waits for ever";
    free(ends);
    return what;
}

/* Visit all. Returns what goes wrong first, or NULL. */
static const char *explore(const struct model *model)
{
    struct state first;

    memset(table, 0, TABLE_SIZE * sizeof *table);
    state_count = 0;
    memset(&first, 0, sizeof first);
    model->begin(&first);
    (void)state_number(&first);
    for (uint32_t i = 0; i < state_count; i++) {
        const char *what = model->wrong(&states[i]);

        if (!visit(model, i) && !what)
            what = model->left(&states[i]);
        if (what)
            return what;
    }
    return stuck(model);
}

/* ---- the life of a region -------------------------------------------------------------------------------- */

/* Three processes open the region (attach or create), have it open, close it. */

#define REGIONS 3           /* each process makes one at most: having made it, it has it open */
#define SLOTS 3
#define ENDED 100
#define NOBODY (-1)
#define CRASHES 2

enum { DATA = 1, LOCK = 2, ADMIN = 4, ALL = 7 };

enum life_mutant {
    LIFE_COUNT_BY_STORE = 1, LIFE_END_BY_STORE, LIFE_LOOK_BEFORE_READ, LIFE_GIVE_UP, LIFE_NO_LOOK, LIFE_FAIL_AND_GO,
    LIFE_KEEP_ENDED, LIFE_MUTANTS
};

static const char *const life_mutants[] = {
    "", "[H1] the attacher counts by a store", "[H1] the ender ends by a store",
    "[H1] the ender looks at the locks before it reads life", "the ender gives up when its CAS fails",
    "[M10] the attacher does not look whether anybody is left", "who fails to attach does not try to end",
    "[M9] who meets an ended region does not help to remove it"
};

enum life_pc {
    L_LOOK, L_MAKE, L_ADMIN, L_ENDED, L_LOCKS, L_LOCK, L_READ, L_COUNT, L_LATE, L_FAIL, L_OPEN, L_END_READ, L_END_LOOK,
    L_END_CAS, L_REMOVE_DATA, L_REMOVE_LOCK, L_REMOVE_ADMIN, L_REMOVE_NAME, L_DONE, L_DEAD
};

struct life_region {
    int8_t life, files, holder[SLOTS];
};

struct life_process {
    int8_t pc, region, slot, seen;
    int8_t opening;         /* ending or removing on the way to opening: goes on with that */
    int8_t alone;           /* when it first looked, nobody had the region, and nobody took a byte of it since */
};

struct life {
    struct life_region region[REGIONS];
    struct life_process process[PROCESSES];
    int8_t name, made, crashes;
    int8_t owed;            /* at the last crash somebody was about to end the region: it must be gone at the end */
};

_Static_assert(sizeof(struct life) <= STATE_BYTES, "a state holds it");

static bool life_held(const struct life_region *region)
{
    for (int slot = 0; slot < SLOTS; slot++)
        if (region->holder[slot] != NOBODY)
            return true;
    return false;
}

static void life_begin(struct state *state)
{
    struct life *life = (struct life *)(void *)state;

    for (int i = 0; i < REGIONS; i++)
        memset(life->region[i].holder, NOBODY, SLOTS);
    life->name = NOBODY;
}

static int life_choices(const struct state *state, int process)
{
    const struct life *life = (const struct life *)(const void *)state;
    int8_t pc = life->process[process].pc;

    return pc == L_DONE || pc == L_DEAD ? 0 : pc == L_READ ? 2 : 1; /* with its byte held it may fail */
}

static void life_unlock(struct life *life, int process)
{
    for (int i = 0; i < REGIONS; i++)
        for (int slot = 0; slot < SLOTS; slot++)
            if (life->region[i].holder[slot] == process)
                life->region[i].holder[slot] = NOBODY;
}

/* One takes a byte of a region: whoever found it without anybody may attach to it now. */
static void life_took(struct life *life, int process, int region)
{
    for (int other = 0; other < PROCESSES; other++)
        if (other != process && life->process[other].region == region)
            life->process[other].alone = 0;
}

static void life_look(struct life *life, struct life_process *p)
{
    if (life->name == NOBODY) {
        p->pc = L_MAKE;
        return;
    }
    p->region = life->name;
    p->alone = !life_held(&life->region[p->region]);
    p->pc = L_ADMIN;
}

static void life_make(struct life *life, int process)
{
    struct life_process *p = &life->process[process];

    p->pc = L_LOOK;
    if (life->name != NOBODY || life->made == REGIONS)
        return;
    p->region = life->name = life->made++;
    p->alone = 0;
    life->region[p->region].life = 1;
    life->region[p->region].files = ALL;
    life->region[p->region].holder[0] = (int8_t)process;
    p->pc = L_OPEN;
}

static void life_lock(struct life *life, int process)
{
    struct life_process *p = &life->process[process];
    struct life_region *region = &life->region[p->region];

    if (region->holder[p->slot] != NOBODY) {
        p->slot = (int8_t)((p->slot + 1) % SLOTS);
        return;
    }
    region->holder[p->slot] = (int8_t)process;
    life_took(life, process, p->region);
    p->pc = L_READ;
}

/* What follows an attempt to end that found somebody attached. */
static void life_not_ended(struct life_process *p) { p->pc = p->opening ? L_LOCK : L_DONE; }

/* Attach: look, lock, count. */
static void life_step_open(struct life *life, int process, int choice)
{
    struct life_process *p = &life->process[process];
    struct life_region *region = &life->region[p->region];

    switch ((enum life_pc)p->pc) {
    case L_LOOK: p->opening = 1; p->slot = 0; life_look(life, p); break;
    case L_MAKE: life_make(life, process); break;
    case L_ADMIN: p->pc = region->files & ADMIN ? L_ENDED : L_REMOVE_DATA; break;
    case L_ENDED: p->pc = region->life != ENDED ? L_LOCKS : mutant == LIFE_KEEP_ENDED ? L_LOOK : L_REMOVE_DATA; break;
    case L_LOCKS:
        p->pc = !(region->files & LOCK) ? L_LOOK : life_held(region) || mutant == LIFE_NO_LOOK ? L_LOCK : L_END_READ;
        break;
    case L_LOCK: life_lock(life, process); break;
    case L_READ:
        p->seen = region->life;
        p->pc = choice ? L_FAIL : p->seen == ENDED ? L_LATE : L_COUNT;
        break;
    default: /* L_COUNT */
        if (mutant != LIFE_COUNT_BY_STORE && region->life != p->seen) {
            p->pc = L_READ;
            break;
        }
        region->life = (int8_t)(p->seen + 1);
        p->pc = L_OPEN;
        break;
    }
}

/* Give the byte up: the region had ended, or something else failed, or it has been open long enough. */
static void life_step_leave(struct life *life, int process)
{
    struct life_process *p = &life->process[process];
    bool late = p->pc == L_LATE, failed = p->pc == L_FAIL;

    life_unlock(life, process);
    p->opening = late;
    p->pc = late ? L_REMOVE_DATA : failed && mutant == LIFE_FAIL_AND_GO ? L_DONE : L_END_READ;
}

/* End: read life, look at the locks, CAS. The mutant that looks first reads life only with its CAS. */
static void life_step_end(struct life *life, int process)
{
    struct life_process *p = &life->process[process];
    struct life_region *region = &life->region[p->region];
    bool reads_late = mutant == LIFE_LOOK_BEFORE_READ;

    switch ((enum life_pc)p->pc) {
    case L_END_READ:
        p->seen = region->life;
        p->pc = p->seen == ENDED ? L_REMOVE_DATA : L_END_LOOK;
        break;
    case L_END_LOOK:
        p->pc = L_END_CAS;
        if (life_held(region))
            life_not_ended(p);
        break;
    default: /* L_END_CAS */
        if (region->life != p->seen && mutant != LIFE_END_BY_STORE && !reads_late) {
            p->pc = L_END_READ;
            if (mutant == LIFE_GIVE_UP)
                life_not_ended(p);
            break;
        }
        region->life = ENDED;
        p->pc = L_REMOVE_DATA;
        break;
    }
}

static void life_step_remove(struct life *life, int process)
{
    struct life_process *p = &life->process[process];
    struct life_region *region = &life->region[p->region];

    switch ((enum life_pc)p->pc) {
    case L_REMOVE_DATA: region->files &= ~DATA; p->pc = L_REMOVE_LOCK; break;
    case L_REMOVE_LOCK: region->files &= ~LOCK; p->pc = L_REMOVE_ADMIN; break;
    case L_REMOVE_ADMIN: region->files &= ~ADMIN; p->pc = L_REMOVE_NAME; break;
    default: /* L_REMOVE_NAME */
        if (region->files == 0 && life->name == p->region)
            life->name = NOBODY;
        p->pc = p->opening ? L_LOOK : L_DONE;
        break;
    }
}

static void life_step(struct state *state, int process, int choice)
{
    struct life *life = (struct life *)(void *)state;
    int8_t pc = life->process[process].pc;

    if (pc <= L_COUNT)
        life_step_open(life, process, choice);
    else if (pc <= L_OPEN)
        life_step_leave(life, process);
    else if (pc <= L_END_CAS)
        life_step_end(life, process);
    else
        life_step_remove(life, process);
}

static void life_crash(struct state *state, int process)
{
    struct life *life = (struct life *)(void *)state;

    if (life->crashes == CRASHES)
        return;
    life->crashes++;
    life->owed = 0;
    life_unlock(life, process);
    memset(&life->process[process], 0, sizeof life->process[process]);
    life->process[process].pc = L_DEAD;
    for (int other = 0; other < PROCESSES; other++)
        if (life->process[other].pc >= L_END_READ && life->process[other].pc <= L_END_CAS
            && life->process[other].region == life->name)
            life->owed = 1;
}

static const char *life_wrong(const struct state *state)
{
    const struct life *life = (const struct life *)(const void *)state;
    int open = NOBODY;

    for (int process = 0; process < PROCESSES; process++) {
        const struct life_process *p = &life->process[process];

        if (p->pc != L_OPEN)
            continue;
        if (life->region[p->region].life == ENDED)
            return "a process has a region open that has ended";
        if (life->region[p->region].files != ALL)
            return "a process has a region open whose files are gone";
        if (open != NOBODY && open != p->region)
            return "two processes have different regions of that name open";
        if (p->alone)
            return "a process attached to a region that nobody was left of";
        open = p->region;
    }
    return NULL;
}

static const char *life_left(const struct state *state)
{
    const struct life *life = (const struct life *)(const void *)state;

    if (life->name == NOBODY)
        return NULL;
    if (life->crashes == 0)
        return "all have closed, nobody died, and the region is still there";
    if (life->owed)
        return "one who was ending the region left it there";
    /* The next lister removes it: it finds no admin, or ENDED, or no byte held. */
    return life_held(&life->region[life->name]) ? "a dead process holds a byte" : NULL;
}

static const struct model life_model = {
    "life", life_begin, life_choices, life_step, life_crash, life_wrong, life_left
};

/* ---- the private directory ------------------------------------------------------------------------------- */

/* One maker, which starts over once; it closes when the region has its name, and others have it open from then on.
 * Two removers, each of which looks at every private directory. */

#define ATTEMPTS 2

enum making_mutant {
    MAKING_NO_LINK_CHECK = 1, MAKING_PROBE_ONLY, MAKING_NO_NAME_CHECK, MAKING_LOCK_FIRST, MAKING_CLEAR_WITHOUT_LOCK,
    MAKING_UNLOCKED, MAKING_MUTANTS
};

static const char *const making_mutants[] = {
    "", "[H2] the maker does not look whether `lock` still has a name",
    "[H2] the remover lets the byte go before it unlinks",
    "[H2] the remover does not look whether the directory got its name", "the remover unlinks `lock` first",
    "the remover empties a directory without `lock`", "[H2] the maker builds without its byte"
};

enum making_pc {
    K_MKDIR, K_CREATE, K_LOCK, K_LINK, K_DATA, K_ADMIN, K_RENAME, K_CLOSE,
    K_FIND, K_OPEN, K_TAKE, K_NAME, K_UNLINK_1, K_UNLINK_2, K_UNLINK_3, K_LET_GO, K_RMDIR, K_DONE, K_DEAD
};

enum { D_NONE, D_PRIVATE, D_NAMED, D_GONE };

struct making_dir {
    int8_t is, files, holder;
};

struct making {
    struct making_dir dir[ATTEMPTS];
    struct {
        int8_t pc, dir;
    } process[PROCESSES];
    int8_t crashes;
};

_Static_assert(sizeof(struct making) <= STATE_BYTES, "a state holds it");

static void making_begin(struct state *state)
{
    struct making *making = (struct making *)(void *)state;

    for (int i = 0; i < ATTEMPTS; i++)
        making->dir[i].holder = NOBODY;
    making->process[1].pc = making->process[2].pc = K_FIND;
}

static int making_choices(const struct state *state, int process)
{
    const struct making *making = (const struct making *)(const void *)state;

    return making->process[process].pc < K_DONE;
}

/* The maker starts over in a new directory, or leaves it at that. */
static void making_again(struct making *making)
{
    struct making_dir *dir = &making->dir[making->process[0].dir];

    if (dir->holder == 0)
        dir->holder = NOBODY;
    making->process[0].pc = ++making->process[0].dir == ATTEMPTS ? K_DONE : K_MKDIR;
}

static void making_make(struct making *making)
{
    struct making_dir *dir = &making->dir[making->process[0].dir];
    int8_t *pc = &making->process[0].pc;
    bool there = dir->is == D_PRIVATE;

    switch ((enum making_pc)*pc) {
    case K_MKDIR: dir->is = D_PRIVATE; break;
    case K_CREATE: dir->files |= there ? LOCK : 0; break;
    case K_LOCK:
        if (mutant == MAKING_UNLOCKED)
            break;
        if (dir->holder != NOBODY) {
            making_again(making);
            return;
        }
        dir->holder = 0;
        break;
    case K_LINK: there = dir->files & LOCK || mutant == MAKING_NO_LINK_CHECK || mutant == MAKING_UNLOCKED; break;
    case K_DATA: dir->files |= there ? DATA : 0; break;
    case K_ADMIN: dir->files |= there ? ADMIN : 0; break;
    case K_RENAME: dir->is = there ? D_NAMED : dir->is; break;
    default:
        dir->holder = dir->holder == 0 ? NOBODY : dir->holder;
        *pc = K_DONE;
        return;
    }
    if (!there && *pc != K_MKDIR && *pc != K_LOCK)
        making_again(making);
    else
        ++*pc;
}

/* The remover has finished with a directory. */
static void making_next(struct making *making, int process)
{
    making->process[process].pc = ++making->process[process].dir == ATTEMPTS ? K_DONE : K_FIND;
}

static void making_remove(struct making *making, int process)
{
    static const int8_t order[] = { DATA, ADMIN, LOCK }, lock_first[] = { LOCK, DATA, ADMIN };
    struct making_dir *dir = &making->dir[making->process[process].dir];
    int8_t *pc = &making->process[process].pc;

    switch ((enum making_pc)*pc) {
    case K_FIND:
        if (dir->is != D_PRIVATE) {
            making_next(making, process);
            return;
        }
        break;
    case K_OPEN:
        if (!(dir->files & LOCK)) {
            *pc = mutant == MAKING_CLEAR_WITHOUT_LOCK ? K_UNLINK_1 : K_RMDIR;
            return;
        }
        break;
    case K_TAKE:
        if (dir->holder != NOBODY) {
            making_next(making, process);
            return;
        }
        if (mutant != MAKING_PROBE_ONLY)
            dir->holder = (int8_t)process;
        break;
    case K_NAME:
        if (dir->is != D_PRIVATE && mutant != MAKING_NO_NAME_CHECK) {
            *pc = K_LET_GO;
            return;
        }
        break;
    case K_UNLINK_1:
    case K_UNLINK_2:
    case K_UNLINK_3: dir->files &= (int8_t)~(mutant == MAKING_LOCK_FIRST ? lock_first : order)[*pc - K_UNLINK_1]; break;
    case K_LET_GO: dir->holder = dir->holder == process ? NOBODY : dir->holder; break;
    default:
        if (dir->is == D_PRIVATE && dir->files == 0)
            dir->is = D_GONE;
        making_next(making, process);
        return;
    }
    ++*pc;
}

static void making_step(struct state *state, int process, int choice)
{
    struct making *making = (struct making *)(void *)state;

    (void)choice;
    if (process == 0)
        making_make(making);
    else
        making_remove(making, process);
}

static void making_crash(struct state *state, int process)
{
    struct making *making = (struct making *)(void *)state;

    if (making->crashes == CRASHES)
        return;
    making->crashes++;
    for (int i = 0; i < ATTEMPTS; i++)
        if (making->dir[i].holder == process)
            making->dir[i].holder = NOBODY;
    making->process[process].pc = K_DEAD;
}

static const char *making_wrong(const struct state *state)
{
    const struct making *making = (const struct making *)(const void *)state;

    for (int i = 0; i < ATTEMPTS; i++)
        if (making->dir[i].is == D_NAMED && making->dir[i].files != ALL)
            return "a region with a name lacks a file";
    return NULL;
}

/* A remover that comes when all is over removes what is left. */
static const char *making_left(const struct state *state)
{
    struct state after = *state;
    struct making *making = (struct making *)(void *)&after;

    making->process[1].pc = K_FIND;
    making->process[1].dir = 0;
    while (making->process[1].pc != K_DONE)
        making_remove(making, 1);
    for (int i = 0; i < ATTEMPTS; i++)
        if (making->dir[i].is == D_PRIVATE)
            return "a private directory that nobody can remove";
    return making_wrong(&after);
}

static const struct model making_model = {
    "making", making_begin, making_choices, making_step, making_crash, making_wrong, making_left
};

/* ---------------------------------------------------------------------------------------------------------- */

static void check_model(const struct model *model, const char *const *mutants, int count)
{
    const char *what;

    mutant = 0;
    what = explore(model);
    printf("%s: %u states, %s\n", model->name, state_count, what ? what : "nothing goes wrong");
    CHECK(what == NULL);
    for (mutant = 1; mutant < count; mutant++) {
        what = explore(model);
        printf("    without: %-70s -> %s\n", mutants[mutant], what ? what : "NOT FOUND");
        CHECK(what != NULL);
    }
}

int main(void)
{
    states = (struct state *)malloc(STATES_AT_MOST * sizeof *states);
    table = (uint32_t *)malloc(TABLE_SIZE * sizeof *table);
    next_state = (uint32_t(*)[PROCESSES])malloc(STATES_AT_MOST * sizeof *next_state);
    CHECK(states && table && next_state);
    check_model(&life_model, life_mutants, LIFE_MUTANTS);
    check_model(&making_model, making_mutants, MAKING_MUTANTS);
    free(next_state);
    free(table);
    free(states);
    return 0;
}
