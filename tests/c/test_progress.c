/* SPDX-License-Identifier: MIT */
/* Who is said to hang (tests/soak/progress.h): who loops or sleeps for ever, and nobody who has no processor. */
#include "../soak/progress.h"
#include "check.h"

#define MS 1000000ull
#define LOOK (50 * MS)
#define SECOND (1000 * MS)

static struct progress worker, other;

static void begin(void)
{
    progress_begin(&worker, 1, 0);
    progress_begin(&other, 1, 0);
}

/* So many looks at both, who use so much of a processor between two. */
static void look(uint32_t looks, char state, uint64_t uses, char others_state, uint64_t other_uses)
{
    while (looks--) {
        struct sight sight = { state, worker.last.processor_ns + uses };
        struct sight others = { others_state, other.last.processor_ns + other_uses };
        bool starved = progress_is_starved(&worker, sight, LOOK);

        starved |= progress_is_starved(&other, others, LOOK);
        progress_stand(&worker, sight, LOOK, starved);
        progress_stand(&other, others, LOOK, starved);
    }
}

static void who_loops_is_given_the_processors_time_that_it_used(void)
{
    begin();
    look(201, 'R', 50 * MS, 'R', 50 * MS);
    CHECK_EQUAL(worker.own_ns, 10 * SECOND);
    begin();
    look(201, 'R', 5 * MS, 'S', 0); /* a tenth of one */
    CHECK_EQUAL(worker.own_ns, SECOND);
}

static void who_has_no_processor_is_given_nothing(void)
{
    begin();
    look(10000, 'R', 0, 'S', 0);
    CHECK_EQUAL(worker.own_ns, 0);
}

static void who_sleeps_is_given_the_clocks_time(void)
{
    begin();
    look(201, 'S', 0, 'R', 25 * MS);
    CHECK_EQUAL(worker.own_ns, 10 * SECOND);
    begin();
    look(201, 'S', MS / 10, 'S', 0); /* wakes in between, and finds nothing */
    CHECK_EQUAL(worker.own_ns, 10 * SECOND);
}

static void who_sleeps_while_another_has_no_processor_is_given_nothing(void)
{
    begin();
    look(10000, 'S', 0, 'R', 0);
    CHECK_EQUAL(worker.own_ns, 0);
}

static void who_waits_for_a_disk_is_given_nothing(void)
{
    begin();
    look(10000, 'D', 0, 'S', 0);
    CHECK_EQUAL(worker.own_ns, 0);
}

static void who_is_awake_at_every_second_look_has_not_slept(void)
{
    begin();
    for (uint32_t i = 0; i < 1000; i++) {
        look(1, 'S', 0, 'S', 0);
        look(1, 'R', 0, 'S', 0);
    }
    CHECK_EQUAL(worker.own_ns, 0);
}

static void who_gets_on_begins_anew(void)
{
    begin();
    look(100, 'S', 0, 'S', 0);
    progress_begin(&worker, 2, 5 * SECOND);
    CHECK_EQUAL(worker.own_ns, 0);
    look(1, 'S', 3 * SECOND, 'S', 0); /* what it used before the first look at it does not count */
    CHECK_EQUAL(worker.own_ns, 0);
    look(1, 'S', 0, 'S', 0);
    CHECK_EQUAL(worker.own_ns, LOOK);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(who_loops_is_given_the_processors_time_that_it_used),
        CHECK_TEST(who_has_no_processor_is_given_nothing),
        CHECK_TEST(who_sleeps_is_given_the_clocks_time),
        CHECK_TEST(who_sleeps_while_another_has_no_processor_is_given_nothing),
        CHECK_TEST(who_waits_for_a_disk_is_given_nothing),
        CHECK_TEST(who_is_awake_at_every_second_look_has_not_slept),
        CHECK_TEST(who_gets_on_begins_anew),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], NULL);
}
