/* SPDX-License-Identifier: MIT */
/* The directed tests, each in the file that its section names. */
#ifndef SIM_DIRECTED_TESTS_H
#define SIM_DIRECTED_TESTS_H

#include "sim_directed.h"

/* directed_queue.c and directed_close.c */
void sim_test_stale_receiver(void);
void sim_test_stale_tail_hint(void);
void sim_test_stale_head_hint(void);
void sim_test_lagging_hint(void);
void sim_test_bounded_walks(void);
void sim_test_close_with_held(void);
void sim_test_recoverer_of_poster(void);
void sim_test_recoverer_beside_drain(void);
void sim_test_recoverer_before_next_queue(void);
void sim_test_poster_dies_after_close(void);
void sim_test_late_poster_dies(void);
void sim_test_post_against_close(void);
void sim_test_post_against_recovery(void);
void sim_test_shut_during_send(void);
void sim_test_shut_during_receive(void);
void sim_test_death_after_shut(void);
void sim_test_stray_bit_on_free_record(void);
void sim_test_same_generation_again(void);
void sim_test_take_back_beside_lagging_hint(void);
void sim_test_far_ahead_of_old_slots(void);

/* directed_requeue.c and directed_forward.c */
void sim_test_holder_of_former_queue(void);
void sim_test_forwarder_dies(void);
void sim_test_forwarder_and_recoverer_die(void);
void sim_test_forward_to_one_that_goes(void);
void sim_test_forward_to_successor(void);
void sim_test_recoverer_dies_requeueing(void);
void sim_test_adopter_dies_requeueing(void);
void sim_test_receiver_scans_during_recovery(void);
void sim_test_delete_during_recovery(void);
void sim_test_stale_receiver_of_requeued(void);
void sim_test_search_goes_round(void);
void sim_test_two_free_one_requeued(void);
void sim_test_sender_and_recoverer_die(void);
void sim_test_redelivery_tells(void);
void sim_test_requeued_goes_and_comes_back(void);
void sim_test_requeueing_goes_and_comes_back(void);

/* directed_names.c */
void sim_test_two_makers(void);
void sim_test_maker_against_deleter(void);
void sim_test_helper_of_former_queue(void);
void sim_test_deleter_dies(void);
void sim_test_claimant_dies(void);
void sim_test_claimant_of_former_queue(void);
void sim_test_sharing_is_decided_once(void);
void sim_test_close_leaves_claims_of_others(void);
void sim_test_recoverer_of_claimant(void);
void sim_test_deleter_of_pending_name(void);
void sim_test_outdated_claim(void);

/* directed_wait.c */
void sim_test_two_sleepers_two_posts(void);
void sim_test_post_while_a_sleeper_wakes(void);
void sim_test_woken_one_gives_up(void);
void sim_test_leaver_beside_a_sleeper(void);
void sim_test_senders_wait_for_space(void);
void sim_test_end_wakes_sleepers(void);
void sim_test_redelivery_wakes_sleepers(void);
void sim_test_ends_stop_beside_sleepers(void);
void sim_test_sends_stop_beside_sleepers(void);
void sim_test_takes_stop_beside_sleepers(void);
void sim_test_one_sleeper_one_send(void);
void sim_test_announcement_of_the_dead(void);

/* directed_stale.c */
void sim_test_stale_slot_holds_nobody_up(void);
void sim_test_stale_slot_is_cleared_once(void);

/* directed_publish.c */
void sim_test_publisher_stops(void);
void sim_test_publisher_meets_next_subscriber(void);
void sim_test_publisher_comes_late(void);
void sim_test_drop_counted_late(void);
void sim_test_unsubscriber_stops(void);
void sim_test_subscriber_stops(void);
void sim_test_last_two_release(void);
void sim_test_generation_comes_round(void);
void sim_test_recoverer_of_publisher(void);
void sim_test_recoverer_beside_publisher(void);
void sim_test_recoverer_of_subscriber(void);
void sim_test_subscriber_and_recoverer_die(void);

/* directed_drop.c */
void sim_test_dropping_sender_stops(void);
void sim_test_policy_is_decided_once(void);
void sim_test_waiting_publisher(void);
void sim_test_waiting_publisher_stops(void);
void sim_test_waiting_subscriber(void);
void sim_test_publisher_beside_sleeper(void);

/* directed_topics.c */
void sim_test_editor_is_alone(void);
void sim_test_editor_beside_publisher(void);
void sim_test_index_while_held(void);
void sim_test_no_index_left(void);
void sim_test_subscribers_come_at_once(void);
void sim_test_topic_has_one_number(void);
void sim_test_helper_of_former_topic(void);

/* directed_blocks.c */
void sim_test_allocator_dies(void);
void sim_test_allocator_stops(void);
void sim_test_recoverer_of_owner_dies(void);
void sim_test_allocator_and_recoverer_die(void);
void sim_test_merge_stops_or_dies(void);
void sim_test_scan_sees_splits(void);

#endif
