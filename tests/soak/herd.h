/* SPDX-License-Identifier: MIT */
/* The workers: born, killed, frozen, gone on, and watched. The controller never calls anything that recovers. */
#ifndef SOAK_HERD_H
#define SOAK_HERD_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "account.h"
#include "deaths.h"
#include "payload.h"
#include "progress.h"
#include "shmq/shmq.h"

#define HERD_PATIENCE_S 10              /* a living worker that does not get on for so long of its own time hangs … */
#define HERD_CLOCK_NS 60000000000ull    /* … or for so long on the clock */
#define HERD_DOUBT_NS 1000000000ull     /* … and is not killed by chance before that is decided */
#define HERD_LOOK_NS 50000000ull

enum member_state { MEMBER_NONE, MEMBER_RUNNING, MEMBER_FROZEN, MEMBER_KILLED };

struct member {
    struct page *page;
    pid_t pid;
    enum member_state state;
    bool python;
    bool grown;             /* has attached, and been given its time */
    uint64_t due_ns;        /* when it is killed, frozen or goes on */
    struct progress progress;
};

struct herd_figures {
    uint64_t kills, python_kills, inside, early, frozen, left, crashed, hung, events;
};

struct herd {
    struct ledger *ledger;
    struct account account;
    struct deaths deaths;
    struct member member[LEDGER_PAGES];
    uint32_t members, pythons, shift;
    uint32_t next_life;
    uint64_t chance, looked_ns, patience_ns;
    const char *worker;
    const char *python, *script, *package;
    struct herd_figures figures;
    bool failed;
};

static const char *const herd_role_text[ROLES] = {
#define ROLE(name, text) text,
    SOAK_ROLES(ROLE)
#undef ROLE
};

/* Who does what: each round the first member, and so the Python members, begin one further. */
static const enum role herd_roles[] = { ROLE_SENDER, ROLE_WORKER, ROLE_PUBLISHER, ROLE_SUBSCRIBER, ROLE_REQUESTER,
    ROLE_ANSWERER, ROLE_FORWARDER, ROLE_WORKER, ROLE_EDITOR, ROLE_LOSSY, ROLE_MAKER, ROLE_SENDER, ROLE_OPENER,
    ROLE_WORKER };

#define HERD_ROLES (sizeof herd_roles / sizeof herd_roles[0])

/* ---- start ------------------------------------------------------------------------------------------------- */

/* A life, from the attachment on: some ms, mostly; seldom seconds, so that some outlive many. */
static uint64_t herd_span(struct herd *herd)
{
    uint64_t most = soak_random(&herd->chance) % 500 == 0 ? 3000 : 8;

    return soak_random(&herd->chance) % (most * 1000000);
}

/* Some do not even live to attach. */
static uint64_t herd_early(struct herd *herd, const struct member *member)
{
    if (soak_random(&herd->chance) % 8)
        return herd->patience_ns;
    return soak_random(&herd->chance) % (member->python ? 60000000ull : 4000000ull);
}

/* In the child, which shares the parent's memory until it is another program. */
__attribute__((noreturn)) static void herd_become(const struct herd *herd, const struct member *member, char *number,
    pid_t controller)
{
    char *const c[] = { (char *)(uintptr_t)herd->worker, number, NULL };
    char *const python[] = { (char *)(uintptr_t)herd->python, (char *)(uintptr_t)"-S", (char *)(uintptr_t)"-E",
        (char *)(uintptr_t)"-X", (char *)(uintptr_t)"pycache_prefix=build/pycache", (char *)(uintptr_t)herd->script,
        number, (char *)(uintptr_t)herd->package, NULL };

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == controller)
        (void)execv(member->python ? herd->python : herd->worker, member->python ? python : c);
    _exit(127);
}

static void herd_start(struct herd *herd, uint32_t index, enum role role, uint64_t now)
{
    struct member *member = &herd->member[index];
    struct page *page = member->page;
    pid_t controller = getpid();
    char number[16];

    CHECK_EQUAL(member->state, MEMBER_NONE);
    memset(page, 0, offsetof(struct page, event));
    page->life = herd->next_life++;
    page->role = role;
    page->seed = soak_random(&herd->chance) | 1;
    herd->account.lives = herd->next_life - herd->account.first;
    member->python = index < herd->pythons;
    snprintf(number, sizeof number, "%u", index);
    member->pid = vfork();
    if (member->pid == 0)
        herd_become(herd, member, number, controller);
    CHECK(member->pid > 0);
    member->state = MEMBER_RUNNING;
    member->grown = false;
    member->due_ns = now + herd_early(herd, member);
    progress_begin(&member->progress, 0, now);
}

/* ---- death ------------------------------------------------------------------------------------------------- */

static bool herd_is_open(const struct page *page)
{
    enum event last = page->count ? event_kind(page->event[page->count - 1]) : EVENT_NONE;

    return last == EVENT_SEND || last == EVENT_ACK || last == EVENT_FORWARD;
}

/* The process slot of a Python worker, as its page would say if it knew; 0: it has just left. */
static uint64_t herd_find(const struct shmq_map *map, pid_t pid)
{
    struct shmq_process_info info;

    for (uint32_t slot = 0; slot < map->geometry.max_processes; slot++) {
        shmq_process_info(map, slot, &info);
        if (info.state == SHMQ_PROCESS_LIVE && info.pid == (uint64_t)pid)
            return (uint64_t)info.epoch << 32 | (slot + 1);
    }
    return 0;
}

static void herd_kill(struct herd *herd, struct member *member)
{
    uint64_t attached = ledger_load(&member->page->attached), now;

    if (attached && member->python)
        attached = herd_find(herd->deaths.map, member->pid);
    now = shmq_os_now();
    CHECK_EQUAL(kill(member->pid, SIGKILL), 0);
    member->state = MEMBER_KILLED;
    if (attached)
        deaths_watch(&herd->deaths, (uint32_t)attached - 1, (uint32_t)(attached >> 32), now);
}

static void herd_crashed(struct herd *herd, const struct member *member, int status)
{
    herd->figures.crashed++;
    herd->failed = true;
    fprintf(stderr, "crashed: life %llu, %s%s, status %#x\n", (unsigned long long)member->page->life,
        member->python ? "Python " : "", herd_role_text[member->page->role], (unsigned)status);
}

static void herd_ended(struct herd *herd, struct member *member, int status)
{
    struct page *page = member->page;
    bool left = page->count && event_kind(page->event[page->count - 1]) == EVENT_LEFT;

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && member->state == MEMBER_KILLED) {
        herd->figures.kills += !member->python;
        herd->figures.python_kills += member->python;
        herd->figures.early += !page->attached;
        herd->figures.inside += herd_is_open(page);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && left) {
        herd->figures.left++; /* also where it was killed too late */
    } else {
        herd_crashed(herd, member, status);
    }
    herd->figures.events += page->count;
    account_read(&herd->account, page);
    page->attached = 0;
    member->state = MEMBER_NONE;
}

/* Reap all that have ended. Returns how many. */
static uint32_t herd_reap(struct herd *herd)
{
    uint32_t reaped = 0;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < LEDGER_PAGES; i++)
            if (herd->member[i].state != MEMBER_NONE && herd->member[i].pid == pid) {
                herd_ended(herd, &herd->member[i], status);
                reaped++;
            }
    return reaped;
}

/* ---- who hangs --------------------------------------------------------------------------------------------- */

static void herd_show_file(pid_t pid, const char *name)
{
    char path[64], text[1024];
    ssize_t length;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length > 0)
        fprintf(stderr, "  %s: %.*s\n", name, (int)length, text);
    if (fd >= 0)
        close(fd);
}

/* Who stands where. */
static void herd_show(const struct herd *herd)
{
    uint64_t now = shmq_os_now();

    for (uint32_t i = 0; i < LEDGER_PAGES; i++) {
        const struct member *member = &herd->member[i];
        const struct page *page = member->page;
        uint64_t last = page->count ? page->event[page->count - 1] : 0;

        if (member->state == MEMBER_NONE)
            continue;
        fprintf(stderr, "life %llu, %s%s, pid %d, state %d, process slot %d, beat %llu, for %.3f s, its own %.3f; ",
            (unsigned long long)page->life, member->python ? "Python " : "", herd_role_text[page->role],
            (int)member->pid, (int)member->state, (int)(uint32_t)page->attached - 1, (unsigned long long)page->beat,
            (double)(now - member->progress.since_ns) * 1e-9, (double)member->progress.own_ns * 1e-9);
        fprintf(stderr, "event %llu: kind %d, way %d, deliveries %u, %u/%u\n", (unsigned long long)page->count,
            (int)event_kind(last), (int)event_way(last), event_deliveries(last), event_life(last), event_n(last));
        herd_show_file(member->pid, "wchan");
        herd_show_file(member->pid, "stack");
        herd_show_file(member->pid, "syscall");
    }
}

static void herd_hung(struct herd *herd, const char *what)
{
    fprintf(stderr, "hung: %s\n", what);
    herd->figures.hung++;
    herd->failed = true;
    herd_show(herd);
}

/* Of a process that has ended, and waits to be reaped, nothing is wanted any more. */
static struct sight herd_sight(pid_t pid)
{
    struct sight sight = { 'Z', 0 };
    char path[64], text[512];
    struct timespec used;
    clockid_t clock;
    ssize_t length;
    int fd;

    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        sight.processor_ns = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (length > 0) {
        const char *name_end;

        text[length] = 0;
        name_end = strrchr(text, ')');
        if (name_end && name_end[1] == ' ')
            sight.state = name_end[2];
    }
    return sight;
}

/* A look at all who have not got on since the last one. */
static void herd_look_at_each(struct herd *herd, uint64_t now)
{
    uint64_t elapsed = now - herd->looked_ns;
    bool starved = elapsed > PROGRESS_LATE_NS, stands[LEDGER_PAGES] = { false };
    struct sight sight[LEDGER_PAGES];

    for (uint32_t i = 0; i < LEDGER_PAGES; i++) {
        struct member *member = &herd->member[i];
        uint64_t beat = ledger_load(&member->page->beat) + ledger_load(&member->page->count);

        if (member->state != MEMBER_RUNNING || beat != member->progress.beat) {
            progress_begin(&member->progress, beat, now);
            continue;
        }
        stands[i] = true;
        sight[i] = herd_sight(member->pid);
        starved |= progress_is_starved(&member->progress, sight[i], elapsed);
    }
    for (uint32_t i = 0; i < LEDGER_PAGES; i++)
        if (stands[i])
            progress_stand(&herd->member[i].progress, sight[i], elapsed, starved);
    if (!starved)
        herd->deaths.fair_ns += elapsed;
}

/* Look who got on. */
static void herd_look(struct herd *herd, uint64_t now)
{
    if (now - herd->looked_ns < HERD_LOOK_NS)
        return;
    herd_look_at_each(herd, now);
    herd->looked_ns = now;
    for (uint32_t i = 0; i < LEDGER_PAGES; i++) {
        const struct progress *progress = &herd->member[i].progress;

        if (progress->own_ns > herd->patience_ns || now - progress->since_ns > HERD_CLOCK_NS) {
            herd_hung(herd, "a worker does not get on");
            return;
        }
    }
    if (deaths_none_for(&herd->deaths, herd->patience_ns, HERD_CLOCK_NS))
        herd_hung(herd, "nobody recovers a dead process");
}

/* ---- life -------------------------------------------------------------------------------------------------- */

/* Its time has come: to die, mostly. */
static void herd_end_turn(struct herd *herd, struct member *member, uint64_t now)
{
    uint64_t value = soak_random(&herd->chance);

    if (member->state == MEMBER_RUNNING && now - member->progress.since_ns > HERD_DOUBT_NS)
        return; /* it does not get on: herd_look decides */
    if (member->state == MEMBER_RUNNING && value % 50 == 0) {
        CHECK_EQUAL(kill(member->pid, SIGSTOP), 0);
        herd->figures.frozen++;
        member->state = MEMBER_FROZEN;
        member->due_ns = now + (value >> 8) % (value % 1000 == 0 ? 3000000000ull : 100000000ull);
    } else if (member->state == MEMBER_FROZEN && value % 2) {
        CHECK_EQUAL(kill(member->pid, SIGCONT), 0);
        member->state = MEMBER_RUNNING;
        progress_begin(&member->progress, member->progress.beat, now);
        member->due_ns = now + herd_span(herd);
    } else {
        herd_kill(herd, member);
    }
}

/* One look at all. Returns whether there was anything to do. */
static bool herd_turn(struct herd *herd)
{
    uint64_t now = shmq_os_now();
    bool busy = herd_reap(herd) > 0;

    for (uint32_t i = 0; i < herd->members; i++) {
        struct member *member = &herd->member[i];

        if (member->state == MEMBER_NONE) {
            herd_start(herd, i, herd_roles[(i + herd->shift) % HERD_ROLES], now);
            busy = true;
        } else if (!member->grown && member->state == MEMBER_RUNNING && ledger_load(&member->page->attached)) {
            member->grown = true;
            member->due_ns = now + herd_span(herd);
        } else if (member->state != MEMBER_KILLED && now >= member->due_ns) {
            herd_end_turn(herd, member, now);
            busy = true;
        }
    }
    deaths_look(&herd->deaths);
    herd_look(herd, now);
    return busy;
}

/* ---- the end of a round ------------------------------------------------------------------------------------ */

static bool herd_stays(const struct member *member)
{
    uint64_t role = member->page->role;

    return role == ROLE_SUBSCRIBER || role == ROLE_LOSSY || role == ROLE_ANSWERER;
}

/* Wait until all have left but, in PHASE_STOP, those that stay. */
static void herd_dismiss(struct herd *herd, enum phase phase)
{
    ledger_store(&herd->ledger->phase, phase);
    for (uint32_t left = 1; left && !herd->failed;) {
        left = 0;
        (void)herd_reap(herd);
        for (uint32_t i = 0; i < LEDGER_PAGES; i++) {
            struct member *member = &herd->member[i];

            if (member->state == MEMBER_FROZEN) {
                CHECK_EQUAL(kill(member->pid, SIGCONT), 0);
                member->state = MEMBER_RUNNING;
            }
            left += member->state != MEMBER_NONE && (phase == PHASE_END || !herd_stays(member));
        }
        deaths_look(&herd->deaths);
        herd_look(herd, shmq_os_now());
        shmq_os_pause(200000);
    }
}

/* Whatever they do. */
static void herd_kill_all(struct herd *herd)
{
    for (uint32_t i = 0; i < LEDGER_PAGES; i++)
        if (herd->member[i].state != MEMBER_NONE) {
            (void)kill(herd->member[i].pid, SIGKILL);
            (void)waitpid(herd->member[i].pid, NULL, 0);
            herd->member[i].state = MEMBER_NONE;
        }
}

#endif
