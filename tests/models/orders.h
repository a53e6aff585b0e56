/* SPDX-License-Identifier: MIT */
/* Which orders and steps the scenes need.
 *
 * NEEDS(scene, way, access, order): with the orders of a scene's rows, and all others relaxed, the scene holds; with
 * any of them a step weaker it fails. So the rows are a smallest set; some scenes do with one set or with another,
 * which is the way. ACQ_REL stands for acquire of a load and release of a store.
 *
 * In Relacy the order of all seq_cst accesses is that of the execution. C11 lets a load be earlier in it than a store
 * that was before it in time, unless another edge forbids that: way 2 of "two senders, depth one" does without the
 * orders of the tail hint only here.
 *
 * SPARE(access, why): no scene needs it, because another edge says the same. The code keeps it all the same: it costs
 * nothing on x86-64, and nobody dies in these scenes.
 *
 * MISSED(scene, step, how): without the step the scene fails; how it is left out, stage.h says. A scene that needs no
 * order must have such a row, or nothing shows that it can fail.
 */
#ifndef ORDERS_H
#define ORDERS_H

#define NEEDED_ORDERS(NEEDS) \
    NEEDS("hand over", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                                         \
    NEEDS("hand over", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                                            \
    NEEDS("reuse", 1, A_RECHECK, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                                       \
    NEEDS("reuse", 1, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                                             \
    NEEDS("reuse", 2, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                                             \
    NEEDS("reuse", 2, READ, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                                            \
    NEEDS("two senders, depth one", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                            \
    NEEDS("two senders, depth one", 1, READ, LOAD, HINT, ACQUIRE, ACQ_REL)                                            \
    NEEDS("two senders, depth one", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                               \
    NEEDS("two senders, depth one", 1, S2_TAIL, STORE, HINT, RELEASE, ACQ_REL)                                        \
    NEEDS("two senders, depth one", 2, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                               \
    NEEDS("two senders, depth one", 2, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                            \
    NEEDS("stale slot", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                                        \
    NEEDS("stale slot", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                                           \
    NEEDS("send and delete", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                                   \
    NEEDS("send and delete", 1, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                      \
    NEEDS("send and delete", 1, S3, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("send and delete", 1, QC1, CAS, FLAGS, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("the last message", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("the last message", 1, READ, LOAD, FLAGS, SEQ_CST, ACQ_REL)                                                 \
    NEEDS("the last message", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                                     \
    NEEDS("the last message", 1, Q_SHUT, CAS, FLAGS, SEQ_CST, ACQ_REL)                                                \
    NEEDS("the last message", 2, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                     \
    NEEDS("the last message", 2, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                                  \
    NEEDS("sleeping receiver", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("sleeping receiver", 1, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("sleeping receiver", 1, S3, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                  \
    NEEDS("sleeping receiver", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("a receiver is woken", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                               \
    NEEDS("a receiver is woken", 1, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                  \
    NEEDS("a receiver is woken", 1, S3, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                \
    NEEDS("a receiver is woken", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                               \
    NEEDS("sleeping sender", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                                   \
    NEEDS("sleeping sender", 1, R2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                      \
    NEEDS("sleeping sender", 1, R4, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("sleeping sender", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                                   \
    NEEDS("a sender is woken", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("a sender is woken", 1, R2, CAS, SLOT, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("a sender is woken", 1, R4, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                  \
    NEEDS("a sender is woken", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("publish", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                                           \
    NEEDS("publish", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                                              \
    NEEDS("publish and receive", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                               \
    NEEDS("publish and receive", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("publish and unsubscribe", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                           \
    NEEDS("publish and unsubscribe", 1, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                              \
    NEEDS("publish and unsubscribe", 1, T_OPEN, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                        \
    NEEDS("publish and unsubscribe", 1, QC1, CAS, FLAGS, SEQ_CST, SEQ_CST)                                            \
    NEEDS("two give back in two words", 1, T_CLEAR, CAS, TICKETS, SEQ_CST, SEQ_CST)                                   \
    NEEDS("two give back in two words", 1, T_ZERO, LOAD, TICKETS, SEQ_CST, SEQ_CST)                                   \
    NEEDS("last ticket", 1, A_RECHECK, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                                 \
    NEEDS("last ticket", 1, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                                       \
    NEEDS("last ticket", 1, T_CLEAR, CAS, TICKETS, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("last ticket", 1, T_ZERO, LOAD, TICKETS, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("last ticket", 2, T_ZERO, LOAD, TICKETS, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("last ticket", 2, T_CLEAR, CAS, TICKETS, SEQ_CST, ACQ_REL)                                                  \
    NEEDS("last ticket", 2, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                                       \
    NEEDS("last ticket", 2, READ, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                                      \
    NEEDS("last tickets of two words", 1, A_RECHECK, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                   \
    NEEDS("last tickets of two words", 1, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                         \
    NEEDS("last tickets of two words", 1, T_CLEAR, CAS, TICKETS, SEQ_CST, SEQ_CST)                                    \
    NEEDS("last tickets of two words", 1, T_ZERO, LOAD, TICKETS, SEQ_CST, SEQ_CST)                                    \
    NEEDS("last tickets of two words", 2, READ, LOAD, BUDDY, ACQUIRE, ACQ_REL)                                        \
    NEEDS("last tickets of two words", 2, F1, FETCH, BUDDY, ACQ_REL, ACQ_REL)                                         \
    NEEDS("last tickets of two words", 2, T_CLEAR, CAS, TICKETS, SEQ_CST, SEQ_CST)                                    \
    NEEDS("last tickets of two words", 2, T_ZERO, LOAD, TICKETS, SEQ_CST, SEQ_CST)                                    \
    NEEDS("edit", 1, T_CLEAR, CAS, TICKETS, SEQ_CST, ACQ_REL)                                                         \
    NEEDS("edit", 1, T_ZERO, LOAD, TICKETS, SEQ_CST, ACQ_REL)                                                         \
    NEEDS("requeue", 1, READ, LOAD, REQUEUED, SEQ_CST, ACQ_REL)                                                       \
    NEEDS("requeue", 1, C4_RQ, FETCH, REQUEUED, SEQ_CST, ACQ_REL)                                                     \
    NEEDS("requeue and a sleeper", 1, READ, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                            \
    NEEDS("requeue and a sleeper", 1, READ, LOAD, REQUEUED, SEQ_CST, SEQ_CST)                                         \
    NEEDS("requeue and a sleeper", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                             \
    NEEDS("requeue and a sleeper", 1, C4_RQ, FETCH, REQUEUED, SEQ_CST, SEQ_CST)                                       \
    NEEDS("requeue wakes", 1, READ, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                                    \
    NEEDS("requeue wakes", 1, READ, LOAD, REQUEUED, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("requeue wakes", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                                     \
    NEEDS("requeue wakes", 1, C4_RQ, FETCH, REQUEUED, SEQ_CST, SEQ_CST)                                               \
    NEEDS("requeue and delete", 1, READ, LOAD, BLOCK, SEQ_CST, SEQ_CST)                                               \
    NEEDS("requeue and delete", 1, QC1, CAS, FLAGS, SEQ_CST, SEQ_CST)                                                 \
    NEEDS("requeue and delete", 1, C3_REQUEUE, CAS, BLOCK, SEQ_CST, SEQ_CST)                                          \
    NEEDS("requeue and delete", 1, C3_RECHECK, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                         \
    NEEDS("two senders, a receiver", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                           \
    NEEDS("two senders, a receiver", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                              \
    NEEDS("a sender, two receivers", 1, READ, LOAD, SLOT, SEQ_CST, ACQ_REL)                                           \
    NEEDS("a sender, two receivers", 1, S2, CAS, SLOT, SEQ_CST, ACQ_REL)                                              \
    NEEDS("two sleepers, two messages", 1, READ, LOAD, SLOT, SEQ_CST, SEQ_CST)                                        \
    NEEDS("two sleepers, two messages", 1, S2, CAS, SLOT, SEQ_CST, SEQ_CST)                                           \
    NEEDS("two sleepers, two messages", 1, S3, LOAD, FLAGS, SEQ_CST, SEQ_CST)                                         \
    NEEDS("two sleepers, two messages", 1, W1, FETCH, FLAGS, SEQ_CST, SEQ_CST)                                        \
    NEEDS("two sleepers, two messages", 1, W4, FETCH, FLAGS, SEQ_CST, SEQ_CST)

#define MISSED_STEPS(MISSED) \
    MISSED("two receivers", R1, APART)                                                                                \
    MISSED("two senders", S2, APART)                                                                                  \
    MISSED("depth one", R1, UNDONE)                                                                                   \
    MISSED("send and shut down", S3_BACK, UNDONE)                                                                     \
    MISSED("sleeper is told", W1, APART)                                                                              \
    MISSED("two give back", T_CLEAR, APART)                                                                           \
    MISSED("two give back", T_LAST, APART)                                                                            \
    MISSED("two receivers, one requeued", RQ1, APART)                                                                 \
    MISSED("drops are counted", DROP, APART)

#define WHY_BY_SLOT "who comes to the block comes by the slot: S2 and the look at it order this"
#define WHY_ONE "it meets the newest value of its one word, and nothing else is concluded from it"
#define WHY_BUDDY "F1 and the look at the buddy word order what was done with the block before"
#define WHY_WAIT "the kernel compares the futex word under its lock; older, the sleep returns at once"
#define WHY_HINT "a hint: an old one costs a walk"
#define WHY_AGAIN "an old value is met by a look that follows: S3, T_OPEN, or a compare-and-swap that fails"
#define WHY_RQ "C4_RQ and the look at the count order what a closer did before"
#define WHY_SLOT "the slot is only cleared; a stale one is recognised by its block"

#define SPARE_ORDERS(SPARE) \
    SPARE(A1, CAS, BLOCK, ACQ_REL, WHY_BUDDY)                                                                         \
    SPARE(A2, CAS, BUDDY, ACQ_REL, WHY_BUDDY)                                                                         \
    SPARE(ACK, STORE, BLOCK, RELEASE, WHY_BUDDY)                                                                      \
    SPARE(C3_FLAGS, LOAD, FLAGS, SEQ_CST, WHY_AGAIN)                                                                  \
    SPARE(C3_UNDO, CAS, BLOCK, SEQ_CST, WHY_ONE)                                                                      \
    SPARE(DROP, CAS, OTHER, SEQ_CST, WHY_ONE)                                                                         \
    SPARE(F0, STORE, BLOCK, RELEASE, WHY_BUDDY)                                                                       \
    SPARE(F2, STORE, BLOCK, RELEASE, WHY_BUDDY)                                                                       \
    SPARE(QC2, CAS, BLOCK, SEQ_CST, WHY_ONE)                                                                          \
    SPARE(QC2_RECHECK, LOAD, SLOT, ACQUIRE, WHY_AGAIN)                                                                \
    SPARE(QC3, CAS, SLOT, SEQ_CST, WHY_SLOT)                                                                          \
    SPARE(QC4, STORE, FLAGS, RELEASE, "who meets the closed incarnation has its epoch, and touches nothing")          \
    SPARE(QC_SUB, CAS, TOPIC, SEQ_CST, WHY_ONE)                                                                       \
    SPARE(R1, CAS, BLOCK, SEQ_CST, WHY_ONE)                                                                           \
    SPARE(R1_EPOCH, LOAD, FLAGS, ACQUIRE, WHY_AGAIN)                                                                  \
    SPARE(R1_RECHECK, LOAD, SLOT, ACQUIRE, WHY_AGAIN)                                                                 \
    SPARE(R2_HEAD, STORE, HINT, RELEASE, WHY_HINT)                                                                    \
    SPARE(R2_SEQ, STORE, TICKETS, RELEASE, WHY_RQ)                                                                    \
    SPARE(R3, CAS, SLOT, SEQ_CST, WHY_SLOT)                                                                           \
    SPARE(READ, LOAD, BLOCK, ACQUIRE, WHY_BY_SLOT)                                                                    \
    SPARE(READ, LOAD, FLAGS, ACQUIRE, WHY_AGAIN)                                                                      \
    SPARE(READ, LOAD, OTHER, ACQUIRE, WHY_ONE)                                                                        \
    SPARE(READ, LOAD, PARCEL, ACQUIRE, WHY_BY_SLOT)                                                                   \
    SPARE(READ, LOAD, REQUEUED, ACQUIRE, WHY_RQ)                                                                      \
    SPARE(READ, LOAD, TICKETS, ACQUIRE, WHY_BY_SLOT)                                                                  \
    SPARE(READ, LOAD, TICKETS, SEQ_CST, WHY_BY_SLOT)                                                                  \
    SPARE(READ, LOAD, TOPIC, ACQUIRE, "who is on the way out may be met, who is on the way in missed")                \
    SPARE(RQ1, CAS, BLOCK, ACQ_REL, WHY_ONE)                                                                          \
    SPARE(RQ1_EPOCH, LOAD, FLAGS, SEQ_CST, WHY_AGAIN)                                                                 \
    SPARE(RQ2, CAS, BLOCK, ACQ_REL, WHY_ONE)                                                                          \
    SPARE(RQ3, CAS, REQUEUED, SEQ_CST, WHY_ONE)                                                                       \
    SPARE(R_COUNT, STORE, PARCEL, RELEASE, WHY_RQ)                                                                    \
    SPARE(S1, STORE, BLOCK, RELEASE, WHY_BY_SLOT)                                                                     \
    SPARE(S2_BACK, CAS, BLOCK, SEQ_CST, WHY_ONE)                                                                      \
    SPARE(S2_DEPTH, CAS, SLOT, SEQ_CST, WHY_SLOT)                                                                     \
    SPARE(S2_EPOCH, LOAD, FLAGS, ACQUIRE, WHY_AGAIN)                                                                  \
    SPARE(S2_RECHECK, LOAD, SLOT, ACQUIRE, WHY_AGAIN)                                                                 \
    SPARE(S3_BACK, CAS, BLOCK, SEQ_CST, WHY_ONE)                                                                      \
    SPARE(S3_CLEAR, CAS, SLOT, SEQ_CST, WHY_SLOT)                                                                     \
    SPARE(S_LABEL, STORE, PARCEL, RELEASE, WHY_BY_SLOT)                                                               \
    SPARE(S_LENGTH, STORE, PARCEL, RELEASE, WHY_BY_SLOT)                                                              \
    SPARE(S_SENDER, STORE, TICKETS, RELEASE, WHY_BY_SLOT)                                                             \
    SPARE(T_ALONE, CAS, BLOCK, ACQ_REL, WHY_ONE)                                                                      \
    SPARE(T_FANOUT, STORE, BLOCK, RELEASE, WHY_BY_SLOT)                                                               \
    SPARE(T_GEN, LOAD, BLOCK, SEQ_CST, WHY_AGAIN)                                                                     \
    SPARE(T_LAST, CAS, BLOCK, ACQ_REL, WHY_ONE)                                                                       \
    SPARE(T_SEEN, CAS, TICKETS, SEQ_CST, WHY_ONE)                                                                     \
    SPARE(T_UNPOST, CAS, SLOT, SEQ_CST, WHY_SLOT)                                                                     \
    SPARE(T_WANT, STORE, TICKETS, RELEASE, WHY_BY_SLOT)                                                               \
    SPARE(T_WORDS, STORE, PARCEL, RELEASE, WHY_BY_SLOT)                                                               \
    SPARE(W2, FETCH, FLAGS, SEQ_CST, "an announcement that is seen too long costs a wake")                            \
    SPARE(W3, FETCH, FUTEX, SEQ_CST, WHY_WAIT)                                                                        \
    SPARE(W5, LOAD, FUTEX, SEQ_CST, WHY_WAIT)

#endif
