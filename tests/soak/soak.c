/* SPDX-License-Identifier: MIT */
/* soak WORKER KILLS SECONDS [JSON [PYTHON SCRIPT PACKAGE PYTHON_KILLS]]
 *
 * Programs that do all that shmq can do with one region are killed at random, and some of them frozen, until KILLS have
 * been, or SECONDS are over: rounds of some seconds, each with an audit (account.h, stage.h). With PYTHON, most of the
 * programs are Python's, and it goes on until PYTHON_KILLS of those, too. Prints figures, and writes them to JSON. Ends
 * with 1 where anything was lost, doubled, torn or left, or hangs, which is said after $SOAK_PATIENCE seconds.
 *
 * Nothing is left, whoever is killed (watcher.h): the controller ends when its watcher does, and the workers die with
 * the controller.
 */
#define _GNU_SOURCE
#include "../c/watcher.h"
#include "herd.h"
#include "stage.h"

#define ROUND_NS 5000000000ull
#define ROUND_KILLS 20000u
#define MEMBERS 14u
#define PYTHON_MEMBERS 12u

struct goal {
    uint64_t kills, python_kills, until_ns;
};

static char directory[64];
static struct herd herd;
static struct stage stage;
static struct account_tally total;
static uint64_t leaked;
static volatile sig_atomic_t told_to_end;

static void be_told(int signal)
{
    (void)signal;
    told_to_end = 1;
}

/* ---- rounds ------------------------------------------------------------------------------------------------ */

static void make_ledger(void)
{
    int fd = memfd_create("soak", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_EQUAL(ftruncate(fd, sizeof(struct ledger)), 0);
    CHECK_EQUAL(fd == LEDGER_FD ? fcntl(fd, F_SETFD, 0) : dup2(fd, LEDGER_FD), fd == LEDGER_FD ? 0 : LEDGER_FD);
    herd.ledger = (struct ledger *)mmap(NULL, sizeof *herd.ledger, PROT_READ | PROT_WRITE, MAP_SHARED, LEDGER_FD, 0);
    CHECK(herd.ledger != MAP_FAILED);
    if (fd != LEDGER_FD)
        close(fd);
    ledger_describe(herd.ledger);
    for (uint32_t i = 0; i < LEDGER_PAGES; i++)
        herd.member[i].page = &herd.ledger->page[i];
}

static void add_up(const struct account_tally *tally)
{
    const uint64_t *from = (const uint64_t *)(const void *)tally;
    uint64_t *to = (uint64_t *)(void *)&total;

    for (uint32_t i = 0; i < sizeof total / sizeof *to; i++)
        to[i] += from[i];
}

static void drain(void)
{
    uint32_t index = LEDGER_PAGES - 1;

    herd_start(&herd, index, ROLE_DRAINER, shmq_os_now());
    herd_dismiss(&herd, PHASE_END);
}

static bool reached(const struct goal *goal)
{
    return told_to_end || shmq_os_now() >= goal->until_ns
        || (herd.figures.kills >= goal->kills && herd.figures.python_kills >= goal->python_kills);
}

static void play_round(const struct goal *goal, uint32_t number)
{
    uint64_t start = shmq_os_now(), killed = herd.figures.kills + herd.figures.python_kills;
    char name[32];

    herd.shift = number;
    snprintf(name, sizeof name, "round-%u", number);
    stage_make(&stage, directory, name, 2097152ull << number % 4); /* in the smallest no block is free now and then */
    snprintf(herd.ledger->directory, sizeof herd.ledger->directory, "%s", directory);
    snprintf(herd.ledger->region, sizeof herd.ledger->region, "%s", name);
    account_begin(&herd.account, herd.next_life);
    herd.deaths.map = &stage.region.map;
    ledger_store(&herd.ledger->phase, PHASE_RUN);
    while (!herd.failed && !reached(goal) && shmq_os_now() - start < ROUND_NS
        && herd.figures.kills + herd.figures.python_kills - killed < ROUND_KILLS)
        if (!herd_turn(&herd))
            shmq_os_pause(100000);
    for (enum phase phase = PHASE_STOP; phase <= PHASE_END && !herd.failed; phase++)
        herd_dismiss(&herd, phase);
    if (!herd.failed)
        drain();
    if (!herd.failed) {
        deaths_look(&herd.deaths);
        account_judge(&herd.account);
        leaked += stage_end(&stage, directory);
    }
    add_up(&herd.account.tally);
    account_end(&herd.account);
}

/* ---- figures ----------------------------------------------------------------------------------------------- */

static void tell(FILE *file, const char *format, double seconds)
{
    const struct herd_figures *figures = &herd.figures;

#define NUMBER(value) (unsigned long long)(value)
    fprintf(file, format, NUMBER(figures->kills), NUMBER(figures->python_kills), NUMBER(figures->early),
        NUMBER(figures->inside), NUMBER(figures->frozen), NUMBER(total.messages), NUMBER(total.deliveries),
        NUMBER(total.redelivered), NUMBER(total.perhaps), NUMBER(total.lost), NUMBER(total.duplicated),
        NUMBER(total.torn), NUMBER(total.disordered + total.unsent), NUMBER(leaked), NUMBER(figures->hung),
        NUMBER(figures->crashed), deaths_ms(&herd.deaths, 0.5), deaths_ms(&herd.deaths, 0.99),
        deaths_ms(&herd.deaths, 1), seconds);
#undef NUMBER
}

static const char for_people[] =
    "kills: %llu of C, %llu of Python (%llu before they had attached, %llu inside an operation); frozen: %llu\n"
    "messages sent: %llu, deliveries: %llu, of these again: %llu; perhaps sent: %llu\n"
    "lost: %llu, duplicated: %llu, torn: %llu, disordered or unsent: %llu, leaked: %llu, hung: %llu, crashed: %llu\n"
    "from death to reclaim: p50 %.2f ms, p99 %.2f ms, max %.2f ms; %.1f s\n";

static const char for_programs[] = "{\"kills\": %llu, \"python_kills\": %llu, \"early\": %llu, \"inside\": %llu, "
    "\"frozen\": %llu, \"messages\": %llu, \"deliveries\": %llu, \"redelivered\": %llu, \"perhaps\": %llu, "
    "\"lost\": %llu, \"duplicated\": %llu, \"torn\": %llu, \"disordered\": %llu, \"leaked\": %llu, \"hung\": %llu, "
    "\"crashed\": %llu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"seconds\": %.1f}\n";

/* A file of its own: never through a link. */
static void write_json(const char *path, double seconds)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    CHECK(file);
    tell(file, for_programs, seconds);
    CHECK_EQUAL(fclose(file), 0);
}

/* A number that was asked for. */
static double number(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end != text && !*end && value >= 0)
        return value;
    fprintf(stderr, "soak WORKER KILLS SECONDS [JSON [PYTHON SCRIPT PACKAGE PYTHON_KILLS]]: %s is no number\n", text);
    exit(2);
}

static uint64_t patience(void)
{
    const char *asked = getenv("SOAK_PATIENCE");

    return (uint64_t)((asked ? number(asked) : HERD_PATIENCE_S) * 1e9);
}

int main(int argc, char **argv)
{
    struct goal goal;
    uint64_t start;
    double seconds;

    CHECK(argc >= 4);
    goal.kills = (uint64_t)number(argv[2]);
    seconds = number(argv[3]);
    goal.python_kills = argc > 8 ? (uint64_t)number(argv[8]) : 0;
    snprintf(directory, sizeof directory, "/dev/shm/shmq-soak-%d", (int)getpid());
    watcher_begin(directory, SIGTERM, NULL);
    (void)signal(SIGTERM, be_told);
    make_ledger();
    start = shmq_os_now();
    herd.worker = argv[1];
    goal.until_ns = start + (uint64_t)(seconds * 1e9);
    herd.members = MEMBERS;
    if (argc > 8) {
        herd.python = argv[5];
        herd.script = argv[6];
        herd.package = argv[7];
        herd.pythons = PYTHON_MEMBERS;
    }
    herd.patience_ns = patience();
    herd.next_life = 1;
    herd.chance = start | 1;
    for (uint32_t number = 0; !herd.failed && !reached(&goal); number++)
        play_round(&goal, number);
    herd_kill_all(&herd);
    seconds = (double)(shmq_os_now() - start) * 1e-9;
    tell(stdout, for_people, seconds);
    if (argc > 4)
        write_json(argv[4], seconds);
    fflush(stdout);
    return told_to_end || herd.failed || leaked || account_faults(&total);
}
