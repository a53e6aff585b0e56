/* SPDX-License-Identifier: MIT */
/* orders: play each scene in all its executions, with its orders as they are; then with only those that orders.h says
 * that it needs, all others relaxed, which must do; then without each of them, and without each step that orders.h says
 * that it misses, which must be reported.
 * orders full [SCENE]: only the first, every schedule, or more preemptions where there are too many. Long.
 * orders show SCENE: the failing execution of a scene, with the names of its steps.
 * orders find [SCENE]: rows for orders.h; of those without a step one is enough.
 */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "orders.h"
#include "scenes.h"

#define SECONDS_AT_MOST 60u     /* of a scene: one that does not end has reported nothing */
#define SECONDS_IN_FULL 3600u

/* An order that a scene needs while all others are relaxed; or, without a scene, one that none needs, and why. */
struct row {
    const char *scene;
    int way;                    /* a scene may do with different ones */
    struct stage_access access;
    enum shmq_order needs;      /* as in stage_orders */
    const char *reason;
};

#define ACCESS(step, kind, place, order) { SHMQ_##step, STAGE_##kind, STAGE_##place, SHMQ_##order }
static const struct row rows[] = {
#define NEEDS(scene, way, step, kind, place, order, needs) \
    { scene, way, ACCESS(step, kind, place, order), SHMQ_##needs, NULL },
#define SPARE(step, kind, place, order, reason) \
    { NULL, 0, ACCESS(step, kind, place, order), SHMQ_RELAXED, reason },
    NEEDED_ORDERS(NEEDS)
    SPARE_ORDERS(SPARE)
#undef NEEDS
#undef SPARE
};
#define ROWS (sizeof rows / sizeof rows[0])

/* A step that a scene misses when it is left out. */
struct missed {
    const char *scene;
    enum shmq_step step;
    enum stage_leaving leaving;
};

static const struct missed missed[] = {
#define MISSED(scene, step, leaving) { scene, SHMQ_##step, STAGE_##leaving },
    MISSED_STEPS(MISSED)
#undef MISSED
};
#define MISSED_ROWS (sizeof missed / sizeof missed[0])

/* How the accesses that a scene needs are looked for: which are weakened first. */
enum direction { FORWARDS, BACKWARDS };

static struct stage_report *report;
static struct stage_orders *orders;
static struct stage_seen met[SCENES];

static const char *const kind_names[] = { "LOAD", "STORE", "CAS", "FETCH" };
static const char *const leaving_names[] = { "APART", "UNDONE" };
static const char *const order_names[] = { "RELAXED", "ACQUIRE", "RELEASE", "ACQ_REL", "SEQ_CST" };
static const char *const place_names[] = {
#define PLACE_NAME(name) #name,
    STAGE_PLACES(PLACE_NAME)
#undef PLACE_NAME
};

static const char *access_name(const struct stage_access *access)
{
    static char name[128];

    snprintf(name, sizeof name, "%s, %s, %s, %s", stage_step_name(access->step), kind_names[access->kind],
        place_names[access->place], order_names[access->order]);
    return name;
}

static uint8_t *order_of(const struct stage_access *access)
{
    return &orders->to[access->step][access->kind][access->place][access->order];
}

static bool has_met(const struct stage_seen *seen, const struct stage_access *access)
{
    return seen->met[access->step][access->kind][access->place][access->order];
}

/* Call visit for each access that could be weaker. */
template <typename visitor>
static void each_access(visitor visit)
{
    for (int step = 0; step < SHMQ_STEP_COUNT; step++)
        for (int kind = 0; kind < STAGE_KINDS; kind++)
            for (int place = 0; place < STAGE_PLACE_COUNT; place++)
                for (int order = SHMQ_ACQUIRE; order < (int)STAGE_ORDERS; order++)
                    visit(stage_access { (enum shmq_step)step, (enum stage_kind)kind, (enum stage_place)place,
                        (enum shmq_order)order });
}

static void orders_as_they_are(void)
{
    each_access([](stage_access access) { *order_of(&access) = (uint8_t)access.order; });
}

/* The order below: of a seq_cst access acquire and release, else relaxed. */
static uint8_t weaker(enum shmq_order order) { return order == SHMQ_SEQ_CST ? SHMQ_ACQ_REL : SHMQ_RELAXED; }

/* ---- playing ---- */

enum verdict { HOLDS, REPORTED, NO_END };

static bool full;

static int preemptions_of(const struct stage_scene *scene)
{
    return full ? scene->more : scene->preemptions;
}

/* Play in a child. */
static bool play_once(const struct stage_scene *scene, bool again)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        struct stage_scene widened = *scene;

        widened.preemptions = preemptions_of(scene);
        alarm(full ? SECONDS_IN_FULL : SECONDS_AT_MOST);
        stage_set(&widened, report, orders);
        stage_play(report, again);
        std::cout.flush();
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* Until all cells are known. A search that only went too deep has reported nothing. */
static enum verdict play(const struct stage_scene *scene)
{
    report->cells = 0;
    do {
        memset(&report->seen, 0, sizeof report->seen);
        if (!play_once(scene, false))
            return NO_END;
    } while (report->grown);
    if (report->result == rl::test_result_success)
        return HOLDS;
    return report->result == rl::test_result_livelock ? NO_END : REPORTED;
}

static const struct stage_scene *scene_named(const char *name)
{
    for (unsigned i = 0; i < SCENES; i++)
        if (strcmp(scenes[i].name, name) == 0)
            return &scenes[i];
    return NULL;
}

/* All scenes, or the one. */
static unsigned play_all(const struct stage_scene *only)
{
    unsigned failures = 0;

    orders_as_they_are();
    for (unsigned i = 0; i < SCENES; i++) {
        enum verdict verdict;

        if (only && only != &scenes[i])
            continue;
        verdict = play(&scenes[i]);

        met[i] = report->seen;
        printf("%-28s %u threads, %s: %s, %llu executions, %u words shared\n", scenes[i].name, scenes[i].threads,
            preemptions_of(&scenes[i]) < 0 ? "every schedule" : "bounded", verdict == NO_END ? "NO END"
            : rl::test_result_str(report->result), (unsigned long long)report->executions, report->cells);
        fflush(stdout);
        failures += verdict != HOLDS;
    }
    return failures;
}

/* ---- the table ---- */

static bool row_is_for(const struct row *row, const struct stage_scene *scene, int way)
{
    return row->scene && row->way == way && strcmp(row->scene, scene->name) == 0;
}

/* Relax all that the scene has no row for. */
static void only_needed_orders(const struct stage_scene *scene, int way)
{
    memset(orders, 0, sizeof *orders);
    for (unsigned i = 0; i < ROWS; i++)
        if (row_is_for(&rows[i], scene, way))
            *order_of(&rows[i].access) = (uint8_t)rows[i].needs;
}

/* The rows of a scene: enough together, and none is too many. */
static unsigned check_needed(unsigned number, int way)
{
    const struct stage_scene *scene = &scenes[number];
    unsigned failures = 0, needed = 0;

    for (unsigned i = 0; i < ROWS; i++) {
        if (!row_is_for(&rows[i], scene, way))
            continue;
        only_needed_orders(scene, way);
        *order_of(&rows[i].access) = weaker(rows[i].needs);
        needed++;
        if (!has_met(&met[number], &rows[i].access) || play(scene) != REPORTED) {
            printf("%s: is not reported when weaker: %s\n", scene->name, access_name(&rows[i].access));
            failures++;
        }
    }
    if (way > 1 && !needed)
        return failures;
    only_needed_orders(scene, way);
    if (play(scene) != HOLDS) {
        printf("%s: its rows are not enough\n", scene->name);
        failures++;
    }
    printf("%-28s %u orders are enough, and each is missed\n", scene->name, needed);
    return failures;
}

/* Play it without the step, all orders as they are. */
static enum verdict play_without(const struct stage_scene *scene, enum shmq_step step, enum stage_leaving leaving)
{
    enum verdict verdict;

    orders_as_they_are();
    orders->left_out = step;
    orders->leaving = leaving;
    verdict = play(scene);
    orders->left_out = SHMQ_READ;
    return verdict;
}

/* The steps that the scene is said to miss. One that misses neither an order nor a step may see nothing at all. */
static unsigned check_missed(unsigned number)
{
    const struct stage_scene *scene = &scenes[number];
    unsigned failures = 0, shown = 0;

    for (unsigned i = 0; i < ROWS; i++)
        shown += rows[i].scene && strcmp(rows[i].scene, scene->name) == 0;
    for (unsigned i = 0; i < MISSED_ROWS; i++) {
        const struct missed *row = &missed[i];
        bool reported;

        if (strcmp(row->scene, scene->name) != 0)
            continue;
        reported = play_without(scene, row->step, row->leaving) == REPORTED;
        printf("%-28s %s when %s is %s\n", scene->name, reported ? "fails, as it must," : "DOES NOT FAIL",
            stage_step_name(row->step), leaving_names[row->leaving]);
        failures += !reported;
        shown++;
    }
    if (shown)
        return failures;
    printf("%s: has no row, so nothing shows that it can fail\n", scene->name);
    return failures + 1;
}

/* Has each access that some scene met a row, and each row such an access and a scene that is there? */
static unsigned check_complete(void)
{
    unsigned failures = 0;

    for (unsigned i = 0; i < ROWS + MISSED_ROWS; i++) {
        const char *name = i < ROWS ? rows[i].scene : missed[i - ROWS].scene;

        if (!name || scene_named(name))
            continue;
        printf("%s: a row of no scene\n", name);
        failures++;
    }
    each_access([&failures](stage_access access) {
        bool any = false, spare = false, needed = false;

        for (unsigned i = 0; i < SCENES; i++)
            any |= has_met(&met[i], &access);
        for (unsigned i = 0; i < ROWS; i++)
            if (memcmp(&rows[i].access, &access, sizeof access) == 0)
                *(rows[i].scene ? &needed : &spare) = true;
        if (any == (needed != spare) && (any || !needed))
            return;
        printf("%s: %s\n", access_name(&access), !any ? "a row, but no scene met it"
            : needed ? "needed and spare" : "met, but without a row");
        failures++;
    });
    return failures;
}

/* ---- making the table ---- */

/* Weaken one access after the other, as far as the scene holds; what is left is needed. */
static void find(unsigned number, enum direction direction)
{
    static struct stage_access all[256];
    unsigned count = 0;

    each_access([&count, number](stage_access access) {
        if (has_met(&met[number], &access) && count < 256)
            all[count++] = access;
    });
    orders_as_they_are();
    for (unsigned i = 0; i < count; i++) {
        const struct stage_access *access = &all[direction == FORWARDS ? i : count - 1 - i];

        for (uint8_t to = SHMQ_RELAXED;; to = SHMQ_ACQ_REL) {
            enum verdict verdict;

            *order_of(access) = to;
            verdict = play(&scenes[number]);
            if (verdict == HOLDS)
                break;
            *order_of(access) = (uint8_t)access->order;
            if (verdict == NO_END)
                printf("    no end: %s\n", access_name(access));
            if (to == SHMQ_ACQ_REL || access->order != SHMQ_SEQ_CST)
                break;
        }
        if (*order_of(access) != SHMQ_RELAXED)
            printf("    NEEDS(\"%s\", %d, %s, %s) \\\n", scenes[number].name, direction == FORWARDS ? 1 : 2,
                access_name(access), order_names[*order_of(access) == SHMQ_SEQ_CST ? SHMQ_SEQ_CST : SHMQ_ACQ_REL]);
        fflush(stdout);
    }
}

/* The steps that it misses. */
static void find_missed(unsigned number)
{
    for (int step = SHMQ_READ + 1; step < SHMQ_STEP_COUNT; step++)
        for (int leaving = STAGE_APART; leaving <= STAGE_UNDONE; leaving++)
            if (met[number].step[step]
                && play_without(&scenes[number], (enum shmq_step)step, (enum stage_leaving)leaving) == REPORTED)
                printf("    MISSED(\"%s\", %s, %s) \\\n", scenes[number].name,
                    stage_step_name((enum shmq_step)step), leaving_names[leaving]);
    fflush(stdout);
}

static int usage(const char *wrong)
{
    fprintf(stderr, "orders: %s%s\norders [full [SCENE] | show SCENE | find [SCENE]]\n", wrong,
        ": neither a scene nor anything else that orders does");
    return 2;
}

int main(int argc, char **argv)
{
    const struct stage_scene *only = argc > 2 ? scene_named(argv[2]) : NULL;
    const char *what = argc > 1 ? argv[1] : "";
    bool finding = strcmp(what, "find") == 0, showing = strcmp(what, "show") == 0;
    unsigned failures = 0;
    time_t began = time(NULL);

    full = strcmp(what, "full") == 0;
    if (argc > 1 && !full && !finding && !showing)
        return usage(what);
    if (argc > 3 || (argc > 2 && !only) || (showing && !only))
        return usage(argv[argc - 1]);
    report = (struct stage_report *)mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
        0);
    orders = (struct stage_orders *)mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
        0);
    if (report == MAP_FAILED || orders == MAP_FAILED)
        return 2;
    if (showing) {
        orders_as_they_are();
        failures = play(only) != HOLDS;
        if (failures)
            play_once(only, true);
        return failures ? 1 : 0;
    }
    failures = play_all(only);
    if (finding) {
        for (unsigned i = 0; i < SCENES; i++) {
            if (only && only != &scenes[i])
                continue;
            find(i, FORWARDS);
            find(i, BACKWARDS);
            find_missed(i);
        }
        return failures ? 1 : 0;
    }
    for (unsigned i = 0; !full && i < SCENES; i++)
        failures += check_needed(i, 1) + check_needed(i, 2) + check_missed(i);
    if (!full)
        failures += check_complete();
    printf("%u failures, %.0f s\n", failures, difftime(time(NULL), began));
    return failures ? 1 : 0;
}
