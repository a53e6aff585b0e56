/* SPDX-License-Identifier: MIT */
/* The steps of the algorithm that write shared memory or re-read it before writing.
 *
 * Each has the name it carries in docs/design.md, in the crash table and in the code, so that the three can be
 * read side by side. The simulator stops, kills and mutates a process by these names; a release build drops them.
 */
#ifndef SHMQ_STEPS_H
#define SHMQ_STEPS_H

#define SHMQ_STEPS(X)                                                                        \
    X(READ, "a load that no later write depends on being fresh")                             \
    /* buddy: allocate, split, free, merge */                                                \
    X(A0, "tell which buddy word is about to change")                                        \
    X(A1, "claim the head's block word FREE -> OWNED")                                       \
    X(A2, "set the node bit in the buddy word")                                              \
    X(A3, "undo A1: the node was taken or its word went inactive")                           \
    X(A_RECHECK, "re-read the buddy word after the claim A1")                                \
    X(SPM, "mark the unit as once split")                                                    \
    X(SP1, "activate the lower word of a split unit")                                        \
    X(SP2, "give the split unit's head word to the lower tier")                              \
    X(F0, "a message becomes plain property before it is freed")                             \
    X(F1, "clear the node bit")                                                              \
    X(F2, "the block word becomes FREE")                                                     \
    X(M1, "claim the head of an empty unit, to merge it")                                    \
    X(M2, "deactivate the emptied lower word")                                               \
    X(M3, "undo M1: the word was no longer empty")                                           \
    /* send */                                                                               \
    X(S_LENGTH, "write the payload length")                                                  \
    X(S_LABEL, "write label and deliveries")                                                 \
    X(S_ENVELOPE, "write a word of the envelope")                                            \
    X(S_SENDER, "write who sends")                                                           \
    X(S_FROM, "M[1]: the queue that a forwarded block came from")                            \
    X(S_EPOCH, "M[0]: the epoch of the target queue")                                        \
    X(S1, "the block word becomes QUEUED")                                                   \
    X(S2, "the post: the offset is assigned to the slot")                                    \
    X(S2_TAIL, "move the tail hint")                                                         \
    X(S2_DEPTH, "clear a stale slot that counted against the depth")                         \
    X(S2_HELP, "clear a stale slot of the last lap")                                         \
    X(S2_RECHECK, "re-read the slot after judging the block it names")                       \
    X(S2_EPOCH, "re-read the flags before the post")                                         \
    X(S2_BACK, "not posted: the block is the sender's again")                                \
    X(S3, "re-read the flags after the post")                                                \
    X(S3_BACK, "closed after the post: take the block back")                                 \
    X(S3_CLEAR, "clear the slot of a block taken back")                                      \
    /* receive */                                                                            \
    X(R1, "claim the message: QUEUED -> OWNED")                                              \
    X(R1_RECHECK, "re-read the slot after the block word")                                   \
    X(R1_EPOCH, "re-read the flags after the block word, before any CAS")                    \
    X(R2, "clear the slot")                                                                  \
    X(R2_HEAD, "move the head hint")                                                         \
    X(R2_SEQ, "note the message's position for a redelivery")                                \
    X(R3, "clear a stale slot")                                                              \
    X(R4, "read the flags after the take: is a sender waiting for space")                    \
    X(R_COUNT, "count a delivery of a requeued message")                                     \
    X(RQ1, "claim a requeued message")                                                       \
    X(RQ1_EPOCH, "re-read the flags after a requeued block's words")                         \
    X(RQ2, "claim a requeued block of an older incarnation, to free it")                     \
    X(RQ3, "note that nothing requeued is left")                                             \
    X(ACK, "release: acknowledge, the block is plain property")                              \
    /* overflow and fan-out */                                                               \
    X(DROP, "count a dropped message")                                                       \
    X(T_NUMBER, "take the next number of the topic")                                         \
    X(T_WORDS, "write number and publisher into the envelope")                               \
    X(T_WANT, "write a word of tickets")                                                     \
    X(T_FANOUT, "the block word becomes FANOUT")                                             \
    X(T_OPEN, "re-read the subscriber's flags after the post")                               \
    X(T_UNPOST, "closed after the post: clear the slot")                                     \
    X(T_SEEN, "a subscriber takes its ticket: the message is held")                          \
    X(T_CLEAR, "a ticket is given back")                                                     \
    X(T_GEN, "re-read the block word before a ticket is given back")                         \
    X(T_ZERO, "look whether any ticket is left")                                             \
    X(T_LAST, "none is left: claim the block")                                               \
    X(T_ALONE, "the only holder makes the block its own")                                    \
    X(Q_INDICES, "raise the count of subscriber indices in use")                             \
    X(Q3, "enter the subscriber in its topic")                                               \
    X(QC_SUB, "take the subscriber out of its topic")                                        \
    X(Q_TOPIC, "reserve or give back a topic's record")                                      \
    X(Q_TOPIC_OPEN, "open the topic")                                                        \
    /* queues and names */                                                                   \
    X(Q1, "reserve the queue record")                                                        \
    X(Q1_SLOT, "rewrite a slot two laps on")                                                 \
    X(Q1_FIELD, "write a field of a queue or topic under construction")                      \
    X(Q2, "open the queue")                                                                  \
    X(Q_SHARING, "fix shared or exclusive, and the policy")                                  \
    X(Q_SHUT, "shut the queue down")                                                         \
    X(QC1, "close: OPEN -> CLOSING")                                                         \
    X(QC2, "close: claim a queued message, to free it")                                      \
    X(QC2_RECHECK, "close: re-read the slot after the block word")                           \
    X(QC3, "close: clear the slot")                                                          \
    X(QC4, "close: the queue record is free again")                                          \
    X(CLAIM, "claim a queue for one receiver")                                               \
    X(CLAIM_RECHECK, "re-read the flags after the claim")                                    \
    X(UNCLAIM, "give the claim back")                                                        \
    X(N1, "name the pending queue in dir")                                                   \
    X(N1_RECHECK, "re-read dir after the flags of the queue it names")                       \
    X(N2, "the pending name is settled")                                                     \
    X(N3, "give back a queue that was never named")                                          \
    /* waiting */                                                                            \
    X(W1, "announce a sleeper")                                                              \
    X(W2, "take the announcement down")                                                      \
    X(W3, "change the futex word")                                                           \
    X(W4, "a leaver announces again for whoever still sleeps")                               \
    X(W5, "read the futex word before announcing")                                           \
    /* life of a process slot and of a region */                                             \
    X(P1, "write name, pid and start time")                                                  \
    X(P2, "the process slot becomes LIVE")                                                   \
    X(P_CACHED, "show how much the cache holds")                                             \
    X(C1, "close: LIVE -> DEAD")                                                             \
    X(C3_FREE, "close: an unfinished allocation or free becomes FREE")                       \
    X(C3_BACK, "close: an unposted message becomes property")                                \
    X(C3_FLAGS, "close: read the flags before the ring")                                     \
    X(C3_SETTLE, "close: clear a slot that still names the block")                           \
    X(C3_REQUEUE, "close: a held work message goes back to its queue")                       \
    X(C3_RECHECK, "close: re-read the flags after making it REQUEUE")                        \
    X(C3_UNDO, "close: the queue was gone, the block is property again")                     \
    X(C3_TICKET, "close: a ticket of the dead, or never posted by it, is given back")        \
    X(C4_RQ, "close: tell receivers that something was requeued")                            \
    X(C4_CLAIM, "close: clear a claim")                                                      \
    X(C5, "close: the process slot becomes FREE")                                            \
    X(LIFE_ATTACH, "count an attach in life")                                                \
    X(LIFE_END, "end the region")                                                            \
    X(SWEEP, "take this interval's sweep")                                                   \
    X(CREATE, "initialise a region nobody else can see yet")

enum shmq_step {
#define SHMQ_STEP_NAME(name, what) SHMQ_##name,
    SHMQ_STEPS(SHMQ_STEP_NAME)
#undef SHMQ_STEP_NAME
    SHMQ_STEP_COUNT
};

#endif
