/* SPDX-License-Identifier: MIT */
/* The audit of the soak (tests/soak/account.h): it says nothing of what may happen, and of all else what it is. */
#include "../soak/account.h"

enum { ALICE = 7, BOB, CAROL };         /* lives */

static struct account account;
static struct page page;
static uint64_t dropped;                /* by Bob's queue */
static bool cut_off;                    /* Alice, in her fourth publication */

static void begin(void)
{
    account_begin(&account, ALICE);
    account.lives = 3;
    account.shown = ACCOUNT_FAULTS_SHOWN; /* nothing is printed */
}

static void born(uint32_t life, enum role role)
{
    memset(&page, 0, offsetof(struct page, event));
    page.life = life;
    page.role = role;
}

static void did(enum event event, enum way way, uint32_t deliveries, uint32_t life, uint32_t n)
{
    ledger_note(&page, event_word(event, way, deliveries, life, n));
}

static void died(void) { account_read(&account, &page); }

static void left(bool read_all)
{
    did(EVENT_LEFT, WAY_JOBS, 0, 0, read_all);
    account_read(&account, &page);
}

/* Judge; all faults there are. */
static struct account_tally end(void)
{
    struct account_tally tally;

    account_judge(&account);
    tally = account.tally;
    account_end(&account);
    return tally;
}

static void send(enum way way, uint32_t to, uint32_t n)
{
    did(EVENT_SEND, way, 0, to, n);
    did(EVENT_SENT, way, 0, to, n);
}

static void alice_sends(enum way way, uint32_t to, uint32_t count)
{
    born(ALICE, ROLE_SENDER);
    for (uint32_t n = 1; n <= count; n++)
        send(way, to, n);
    died();
}

static void get(enum way way, uint32_t deliveries, uint32_t n) { did(EVENT_GOT, way, deliveries, ALICE, n); }

static void acknowledge(enum way way, uint32_t deliveries, uint32_t n)
{
    did(EVENT_ACK, way, deliveries, ALICE, n);
    did(EVENT_ACKED, way, deliveries, ALICE, n);
}

/* ---- work queues ------------------------------------------------------------------------------------------- */

static void what_is_sent_received_and_acknowledged_is_no_fault(void)
{
    struct account_tally tally;

    begin();
    born(BOB, ROLE_WORKER); /* may be read before the sender's */
    get(WAY_JOBS, 0, 1);
    acknowledge(WAY_JOBS, 0, 1);
    died();
    alice_sends(WAY_JOBS, 0, 1);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    CHECK_EQUAL(tally.messages, 1);
}

static void a_message_that_was_surely_sent_and_not_acknowledged_is_lost(void)
{
    struct account_tally tally;

    begin();
    alice_sends(WAY_JOBS, 0, 2);
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    died(); /* it held the first; nobody got that again */
    tally = end();
    CHECK_EQUAL(tally.lost, 2);
    CHECK_EQUAL(account_faults(&tally), 2);
}

static void a_message_whose_sender_or_last_holder_died_in_the_operation_is_not_lost(void)
{
    struct account_tally tally;

    begin();
    born(ALICE, ROLE_SENDER);
    send(WAY_JOBS, 0, 1);
    did(EVENT_SEND, WAY_JOBS, 0, 0, 2);
    died();
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    did(EVENT_ACK, WAY_JOBS, 0, ALICE, 1);
    died();
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    CHECK_EQUAL(tally.perhaps, 1);
}

static void a_message_delivered_again_after_a_death_is_no_fault(void)
{
    struct account_tally tally;

    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_FORWARDER);
    get(WAY_JOBS, 0, 1);
    did(EVENT_FORWARD, WAY_NEXT, 0, ALICE, 1);
    died();
    born(CAROL, ROLE_WORKER);
    get(WAY_JOBS, 1, 1);
    acknowledge(WAY_JOBS, 1, 1);
    died();
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    CHECK_EQUAL(tally.redelivered, 1);
}

static void a_message_that_two_got_without_a_mark_is_duplicated(void)
{
    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    died();
    born(CAROL, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    acknowledge(WAY_JOBS, 0, 1);
    died();
    CHECK_EQUAL(end().duplicated, 1);
}

static void a_message_delivered_again_after_it_was_acknowledged_is_duplicated(void)
{
    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    acknowledge(WAY_JOBS, 0, 1);
    died();
    born(CAROL, ROLE_WORKER);
    get(WAY_JOBS, 1, 1);
    died();
    CHECK_EQUAL(end().duplicated, 1);
}

static void a_message_delivered_again_where_it_had_been_handed_on_from_is_duplicated(void)
{
    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_FORWARDER);
    get(WAY_JOBS, 0, 1);
    did(EVENT_FORWARD, WAY_NEXT, 0, ALICE, 1);
    did(EVENT_FORWARDED, WAY_NEXT, 0, ALICE, 1);
    get(WAY_JOBS, 1, 1);
    died();
    born(CAROL, ROLE_WORKER);
    get(WAY_NEXT, 1, 1);
    acknowledge(WAY_NEXT, 1, 1);
    died();
    CHECK_EQUAL(end().duplicated, 1);
}

static void a_message_that_was_taken_from_its_holder_is_duplicated(void)
{
    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    did(EVENT_ACK, WAY_JOBS, 0, ALICE, 1);
    did(EVENT_TAKEN, WAY_JOBS, 0, ALICE, 1);
    died();
    CHECK_EQUAL(end().duplicated, 1);
}

static void a_message_that_was_refused_and_is_received_is_unsent(void)
{
    begin();
    born(ALICE, ROLE_SENDER);
    did(EVENT_SEND, WAY_JOBS, 0, 0, 1);
    did(EVENT_REFUSED, WAY_JOBS, 0, 0, 1);
    died();
    born(BOB, ROLE_WORKER);
    get(WAY_JOBS, 0, 1);
    acknowledge(WAY_JOBS, 0, 1);
    died();
    CHECK_EQUAL(end().unsent, 1);
}

static void a_senders_second_message_before_its_first_is_disordered(void)
{
    begin();
    alice_sends(WAY_JOBS, 0, 2);
    born(BOB, ROLE_WORKER);
    for (uint32_t n = 2; n > 0; n--) {
        get(WAY_JOBS, 0, n);
        acknowledge(WAY_JOBS, 0, n);
    }
    died();
    CHECK_EQUAL(end().disordered, 1);
}

static void a_message_that_nobody_can_have_sent_is_torn(void)
{
    begin();
    born(BOB, ROLE_WORKER);
    did(EVENT_GOT, WAY_JOBS, 0, CAROL + 1, 1);
    did(EVENT_TORN, WAY_JOBS, 0, ALICE, 1);
    died();
    CHECK_EQUAL(end().torn, 2);
}

/* ---- inboxes ----------------------------------------------------------------------------------------------- */

static void bob_gets_of_three(uint32_t which, bool read_all)
{
    begin();
    alice_sends(WAY_INBOX, BOB, 3);
    born(BOB, ROLE_ANSWERER);
    for (uint32_t n = 1; n <= 3; n++)
        if (which >> n & 1)
            get(WAY_INBOX, 0, n);
    if (read_all)
        left(true);
    else
        died();
}

static void what_a_dead_inbox_had_not_received_is_not_lost_but_a_hole_is(void)
{
    struct account_tally tally;

    bob_gets_of_three(1u << 1, false);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    bob_gets_of_three(1u << 1 | 1u << 3, false);
    CHECK_EQUAL(end().lost, 1);
}

static void what_an_inbox_that_was_read_to_the_end_has_not_received_is_lost(void)
{
    bob_gets_of_three(1u << 1 | 1u << 2, true);
    CHECK_EQUAL(end().lost, 1);
}

static void what_an_inbox_got_twice_is_duplicated(void)
{
    begin();
    alice_sends(WAY_INBOX, BOB, 1);
    born(BOB, ROLE_ANSWERER);
    get(WAY_INBOX, 0, 1);
    get(WAY_INBOX, 0, 1);
    left(true);
    CHECK_EQUAL(end().duplicated, 1);
}

/* ---- topics ------------------------------------------------------------------------------------------------ */

/* Alice publishes three; Bob has subscribed before, or after the first. */
static void bob_hears(enum role role, bool before, uint32_t which, bool read_all)
{
    begin();
    born(ALICE, ROLE_PUBLISHER);
    page.first_ns = 100;
    page.last_ns = 300;
    for (uint32_t n = 1; n <= 3; n++)
        send(WAY_TOPIC, 0, n);
    if (cut_off)
        did(EVENT_SEND, WAY_TOPIC, 0, 0, 4);
    died();
    born(BOB, role);
    page.ready_ns = before ? 50 : 150;
    page.dropped = dropped;
    for (uint32_t n = 1; n <= 3; n++)
        if (which >> n & 1)
            get(WAY_TOPIC, 0, n);
    if (read_all)
        left(true);
    else
        died();
}

static void a_subscriber_that_hears_from_its_first_to_the_end_misses_nothing(void)
{
    struct account_tally tally;

    bob_hears(ROLE_SUBSCRIBER, true, 0xe, true);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    bob_hears(ROLE_SUBSCRIBER, false, 0xc, true);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
}

static void a_subscriber_that_misses_one_in_the_middle_has_lost_it_unless_it_drops(void)
{
    struct account_tally tally;

    bob_hears(ROLE_SUBSCRIBER, true, 0xa, false);
    CHECK_EQUAL(end().lost, 1);
    bob_hears(ROLE_LOSSY, true, 0xa, false);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
}

static void what_a_subscriber_that_drops_misses_it_has_counted(void)
{
    struct account_tally tally;

    bob_hears(ROLE_LOSSY, true, 0x2, true);
    CHECK_EQUAL(end().lost, 2);
    dropped = 1;
    bob_hears(ROLE_LOSSY, true, 0x2, true);
    CHECK_EQUAL(end().lost, 1);
    dropped = 2;
    bob_hears(ROLE_LOSSY, true, 0x2, true);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    dropped = 0;
}

static void one_that_a_publisher_dropped_which_was_killed_while_it_published_may_be_uncounted(void)
{
    struct account_tally tally;

    cut_off = true;
    dropped = 1;
    bob_hears(ROLE_LOSSY, true, 0x2, true);
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    dropped = 0;
    bob_hears(ROLE_LOSSY, true, 0x2, true);
    CHECK_EQUAL(end().lost, 2);
    cut_off = false;
}

static void what_was_heard_and_never_published_is_unsent_but_a_refused_one_may_have_reached_some(void)
{
    struct account_tally tally;

    begin();
    born(ALICE, ROLE_PUBLISHER);
    did(EVENT_SEND, WAY_TOPIC, 0, 0, 1);
    did(EVENT_REFUSED, WAY_TOPIC, 0, 0, 1);
    died();
    born(BOB, ROLE_SUBSCRIBER);
    get(WAY_TOPIC, 0, 1);
    died();
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
    begin();
    alice_sends(WAY_JOBS, 0, 1);
    born(BOB, ROLE_SUBSCRIBER);
    get(WAY_TOPIC, 0, 1); /* which went elsewhere */
    get(WAY_TOPIC, 0, 2);
    did(EVENT_ACK, WAY_JOBS, 0, ALICE, 1);
    died();
    CHECK_EQUAL(end().unsent, 2);
}

static void a_subscriber_that_has_read_to_the_end_and_misses_the_end_or_all_has_lost_it(void)
{
    struct account_tally tally;

    bob_hears(ROLE_SUBSCRIBER, true, 0x6, true);
    CHECK_EQUAL(end().lost, 1);
    bob_hears(ROLE_SUBSCRIBER, true, 0, true);
    CHECK_EQUAL(end().lost, 1);
    bob_hears(ROLE_SUBSCRIBER, false, 0, true);
    CHECK_EQUAL(end().lost, 1);
    bob_hears(ROLE_SUBSCRIBER, true, 0xc, true); /* it was there before the first */
    CHECK_EQUAL(end().lost, 1);
    bob_hears(ROLE_SUBSCRIBER, true, 0x6, false); /* killed */
    tally = end();
    CHECK_EQUAL(account_faults(&tally), 0);
}

static void a_subscriber_that_hears_one_twice_is_told_so(void)
{
    begin();
    born(ALICE, ROLE_PUBLISHER);
    send(WAY_TOPIC, 0, 1);
    died();
    born(BOB, ROLE_LOSSY);
    get(WAY_TOPIC, 0, 1);
    get(WAY_TOPIC, 0, 1);
    died();
    CHECK_EQUAL(end().disordered, 1);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        CHECK_TEST(what_is_sent_received_and_acknowledged_is_no_fault),
        CHECK_TEST(a_message_that_was_surely_sent_and_not_acknowledged_is_lost),
        CHECK_TEST(a_message_whose_sender_or_last_holder_died_in_the_operation_is_not_lost),
        CHECK_TEST(a_message_delivered_again_after_a_death_is_no_fault),
        CHECK_TEST(a_message_that_two_got_without_a_mark_is_duplicated),
        CHECK_TEST(a_message_delivered_again_after_it_was_acknowledged_is_duplicated),
        CHECK_TEST(a_message_delivered_again_where_it_had_been_handed_on_from_is_duplicated),
        CHECK_TEST(a_message_that_was_taken_from_its_holder_is_duplicated),
        CHECK_TEST(a_message_that_was_refused_and_is_received_is_unsent),
        CHECK_TEST(a_senders_second_message_before_its_first_is_disordered),
        CHECK_TEST(a_message_that_nobody_can_have_sent_is_torn),
        CHECK_TEST(what_a_dead_inbox_had_not_received_is_not_lost_but_a_hole_is),
        CHECK_TEST(what_an_inbox_that_was_read_to_the_end_has_not_received_is_lost),
        CHECK_TEST(what_an_inbox_got_twice_is_duplicated),
        CHECK_TEST(a_subscriber_that_hears_from_its_first_to_the_end_misses_nothing),
        CHECK_TEST(a_subscriber_that_misses_one_in_the_middle_has_lost_it_unless_it_drops),
        CHECK_TEST(what_a_subscriber_that_drops_misses_it_has_counted),
        CHECK_TEST(one_that_a_publisher_dropped_which_was_killed_while_it_published_may_be_uncounted),
        CHECK_TEST(what_was_heard_and_never_published_is_unsent_but_a_refused_one_may_have_reached_some),
        CHECK_TEST(a_subscriber_that_has_read_to_the_end_and_misses_the_end_or_all_has_lost_it),
        CHECK_TEST(a_subscriber_that_hears_one_twice_is_told_so),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof tests[0], NULL);
}
