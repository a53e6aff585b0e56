/* SPDX-License-Identifier: MIT */
/* The mutants: each compare-and-swap made a store, each re-check dropped, each write left out, each write swapped with
 * the next one of its operation, and the lap gap. CAUGHT names the test that must fail then; EQUIVALENT says why
 * nothing can. The runner checks that no step is missing.
 */
#ifndef MUTANTS_H
#define MUTANTS_H

#define MUTANTS(CAUGHT, EQUIVALENT) \
    CAUGHT(A1, CAS_AS_STORE, "directed: senders that wait for space are not forgotten")                                \
    CAUGHT(A2, CAS_AS_STORE, "directed: senders that wait for space are not forgotten")                                \
    CAUGHT(M1, CAS_AS_STORE, "directed: a merge may stop or die at any step")                                          \
    CAUGHT(M2, CAS_AS_STORE, "directed: a merge may stop or die at any step")                                          \
    CAUGHT(S2, CAS_AS_STORE, "directed: a sender's stale tail hint does not wedge the next incarnation")               \
    EQUIVALENT(S2_BACK, CAS_AS_STORE, "a block that stands in no slot changes hands by nobody but its sender")         \
    CAUGHT(S2_DEPTH, CAS_AS_STORE, "directed: a slot that a dead taker left is cleared once")                          \
    CAUGHT(S2_HELP, CAS_AS_STORE, "directed: a slot that a dead taker left is cleared once")                           \
    CAUGHT(S3_BACK, CAS_AS_STORE, "directed: a sender's stale tail hint does not wedge the next incarnation")          \
    CAUGHT(S3_CLEAR, CAS_AS_STORE, "random")                                                                           \
    CAUGHT(R1, CAS_AS_STORE, "directed: a receiver of a former incarnation takes nothing from the next")               \
    CAUGHT(R2, CAS_AS_STORE, "directed: a receiver of a former incarnation takes nothing from the next")               \
    CAUGHT(R3, CAS_AS_STORE, "directed: a slot that a dead taker left is cleared once")                                \
    CAUGHT(RQ1, CAS_AS_STORE,                                                                                          \
        "directed: a receiver of a former incarnation leaves the next one's requeued messages alone")                  \
    CAUGHT(RQ2, CAS_AS_STORE, "directed: a requeued message that is outdated is freed once")                           \
    EQUIVALENT(RQ3, CAS_AS_STORE, "an older count makes receivers search once more, and loses nothing")                \
    CAUGHT(Q1, CAS_AS_STORE, "directed: two makers of one name get one queue")                                         \
    CAUGHT(Q2, CAS_AS_STORE, "directed: a maker may meet a deleter of its queue")                                      \
    CAUGHT(Q_SHARING, CAS_AS_STORE, "directed: a claim on a former incarnation does not bind the next")                \
    CAUGHT(Q_SHUT, CAS_AS_STORE, "random")                                                                             \
    CAUGHT(QC1, CAS_AS_STORE, "random")                                                                                \
    CAUGHT(QC2, CAS_AS_STORE, "random")                                                                                \
    EQUIVALENT(QC3, CAS_AS_STORE, "nobody fills a slot of a closing queue, and all who clear it write the same word")  \
    CAUGHT(CLAIM, CAS_AS_STORE, "directed: a claim on a former incarnation does not bind the next")                    \
    CAUGHT(UNCLAIM, CAS_AS_STORE, "directed: a claim on a former incarnation does not bind the next")                  \
    CAUGHT(N1, CAS_AS_STORE, "directed: two makers of one name get one queue")                                         \
    CAUGHT(N2, CAS_AS_STORE, "directed: a helper does not open the half-built queue of a later maker")                 \
    EQUIVALENT(C1, CAS_AS_STORE, "only the holder of the byte lock writes the state")                                  \
    EQUIVALENT(C3_FREE, CAS_AS_STORE, "only the holder of the owner's byte lock changes an OWNED word")                \
    CAUGHT(C3_BACK, CAS_AS_STORE, "directed: a recoverer takes nothing that the drain of a closing queue has taken")   \
    CAUGHT(C3_SETTLE, CAS_AS_STORE, "directed: a slot that a dead taker left is cleared once")                         \
    EQUIVALENT(C3_REQUEUE, CAS_AS_STORE, "only the holder of the owner's byte lock changes an OWNED word")             \
    CAUGHT(C3_UNDO, CAS_AS_STORE, "directed: a queue deleted during a close keeps no requeued message")                \
    CAUGHT(C4_CLAIM, CAS_AS_STORE, "directed: the recoverer of a claimant may stop or die at any step")                \
    CAUGHT(A_RECHECK, STALE_LOAD, "directed: senders that wait for space are not forgotten")                           \
    CAUGHT(S2_RECHECK, STALE_LOAD,                                                                                     \
        "directed: a slot is told from its successor when a block's generation comes round")                           \
    CAUGHT(S2_EPOCH, STALE_LOAD, "random")                                                                             \
    CAUGHT(S3, STALE_LOAD, "directed: a post against a close leaks nothing")                                           \
    CAUGHT(R1_RECHECK, STALE_LOAD,                                                                                     \
        "directed: a slot is told from its successor when a block's generation comes round")                           \
    EQUIVALENT(R1_EPOCH, STALE_LOAD,                                                                                   \
        "the epoch is compared after the slot is read, the slot after the block; tickets will need it")                \
    CAUGHT(R4, STALE_LOAD, "directed: a take may stop at any step beside senders that sleep")                          \
    CAUGHT(RQ1_EPOCH, STALE_LOAD, "directed: a delete may die at any step")                                            \
    EQUIVALENT(QC2_RECHECK, STALE_LOAD,                                                                                \
        "QC2 compares the whole block word, and nothing is posted to a closing queue again")                           \
    CAUGHT(CLAIM_RECHECK, STALE_LOAD, "directed: a claim on a former incarnation does not bind the next")              \
    CAUGHT(N1_RECHECK, STALE_LOAD, "directed: a helper does not open the half-built queue of a later maker")           \
    EQUIVALENT(C3_FLAGS, STALE_LOAD,                                                                                   \
        "step 1 of the same close read these flags after the death, and C3_RECHECK looks again")                       \
    CAUGHT(C3_RECHECK, STALE_LOAD, "directed: a queue deleted during a close keeps no requeued message")               \
    EQUIVALENT(W5, STALE_LOAD, "an older futex value only makes the sleep return at once")                             \
    CAUGHT(A0, SKIP, "directed: an allocator may die at any step")                                                     \
    CAUGHT(A1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(A2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(M1, SKIP, "directed: a scan sees every block that a split uncovered")                                       \
    CAUGHT(M2, SKIP, "directed: a scan sees every block that a split uncovered")                                       \
    CAUGHT(S2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(S2_BACK, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(S2_DEPTH, SKIP, "directed: a slot that a dead taker left holds nobody up")                                  \
    CAUGHT(S2_HELP, SKIP, "directed: a slot that a dead taker left holds nobody up")                                   \
    CAUGHT(S3_BACK, SKIP, "directed: a sender's stale tail hint does not wedge the next incarnation")                  \
    EQUIVALENT(S3_CLEAR, SKIP,                                                                                         \
        "a stale slot of a queue that takes no more posts: anyone clears it, the next maker rewrites it")              \
    CAUGHT(R1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(R2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    EQUIVALENT(R3, SKIP, "who made the slot stale clears it; the head hint has passed it")                             \
    CAUGHT(RQ1, SKIP, "directed: a forwarded message survives its forwarder's death at any step")                      \
    CAUGHT(RQ2, SKIP, "directed: a delete may die at any step")                                                        \
    CAUGHT(RQ3, SKIP, "directed: a slot that a dead taker left holds nobody up")                                       \
    CAUGHT(Q1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(Q2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(Q_SHARING, SKIP, "directed: shared or exclusive is decided once")                                           \
    CAUGHT(Q_SHUT, SKIP, "directed: the end of a queue wakes its sleepers")                                            \
    CAUGHT(QC1, SKIP, "directed: the record of a closed queue stays taken while its messages are held")                \
    CAUGHT(QC2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                      \
    EQUIVALENT(QC3, SKIP, "a stale slot of a closing queue harms nobody: the next maker rewrites it")                  \
    CAUGHT(CLAIM, SKIP, "directed: a claim on a former incarnation does not bind the next")                            \
    CAUGHT(UNCLAIM, SKIP, "directed: a dead claimant's claim goes")                                                    \
    CAUGHT(N1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(N2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    EQUIVALENT(C1, SKIP, "DEAD is shown, never asked for: the lock tells")                                             \
    CAUGHT(C3_FREE, SKIP, "directed: the record of a closed queue stays taken while its messages are held")            \
    CAUGHT(C3_BACK, SKIP, "directed: a forwarded message survives its forwarder's death at any step")                  \
    CAUGHT(C3_SETTLE, SKIP, "directed: a slot that a dead taker left is cleared once")                                 \
    CAUGHT(C3_REQUEUE, SKIP, "directed: a forwarded message survives its forwarder's death at any step")               \
    CAUGHT(C3_UNDO, SKIP, "directed: a queue deleted during a close keeps no requeued message")                        \
    CAUGHT(C4_CLAIM, SKIP, "directed: a dead claimant's claim goes")                                                   \
    CAUGHT(A3, SKIP, "directed: an allocator may stop at any step")                                                    \
    CAUGHT(SPM, SKIP, "directed: a scan sees every block that a split uncovered")                                      \
    CAUGHT(SP1, SKIP, "directed: a scan sees every block that a split uncovered")                                      \
    CAUGHT(SP2, SKIP, "directed: a scan sees every block that a split uncovered")                                      \
    EQUIVALENT(F0, SKIP,                                                                                               \
        "only messages of queues that are not open any more are freed without ACK, and such a one is never requeued")  \
    CAUGHT(F1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(F2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(M3, SKIP, "directed: a merge may stop or die at any step")                                                  \
    CAUGHT(S_LENGTH, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                 \
    CAUGHT(S_LABEL, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(S_ENVELOPE, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")               \
    CAUGHT(S_SENDER, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                 \
    CAUGHT(S_FROM, SKIP, "directed: a forwarded message survives its forwarder's death at any step")                   \
    CAUGHT(S_EPOCH, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(S1, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    EQUIVALENT(S2_TAIL, SKIP, "a hint: it costs a walk")                                                               \
    EQUIVALENT(R2_HEAD, SKIP, "a hint: it costs a walk")                                                               \
    CAUGHT(R2_SEQ, SKIP, "directed: a redelivered message tells how often and from where")                             \
    CAUGHT(R_COUNT, SKIP, "directed: a redelivered message tells how often and from where")                            \
    CAUGHT(ACK, SKIP, "directed: a forwarded message survives its forwarder's death at any step")                      \
    CAUGHT(Q1_SLOT, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(Q1_FIELD, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                 \
    CAUGHT(QC4, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                      \
    CAUGHT(N3, SKIP, "directed: two makers of one name get one queue")                                                 \
    CAUGHT(W1, SKIP, "directed: two sleepers and two posts leave nobody asleep")                                       \
    EQUIVALENT(W2, SKIP, "an announcement that stays costs a wake for nobody")                                         \
    CAUGHT(W3, SKIP, "directed: two sleepers and two posts leave nobody asleep")                                       \
    CAUGHT(W4, SKIP, "directed: a post while a sleeper wakes leaves nobody asleep")                                    \
    EQUIVALENT(P1, SKIP, "for display only")                                                                           \
    CAUGHT(P2, SKIP, "directed: a receiver of a former incarnation takes nothing from the next")                       \
    CAUGHT(P_CACHED, SKIP, "random")                                                                                   \
    CAUGHT(C4_RQ, SKIP, "directed: a forwarded message survives its forwarder's death at any step")                    \
    CAUGHT(C5, SKIP, "directed: the record of a closed queue stays taken while its messages are held")                 \
    CAUGHT(A0, SWAP_NEXT, "directed: an allocator may die at any step")                                                \
    CAUGHT(A1, SWAP_NEXT, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(A2, SWAP_NEXT, "directed: senders that wait for space are not forgotten")                                   \
    CAUGHT(M1, SWAP_NEXT, "directed: a scan sees every block that a split uncovered")                                  \
    CAUGHT(M2, SWAP_NEXT, "directed: a merge may stop or die at any step")                                             \
    CAUGHT(S2, SWAP_NEXT, "directed: a slot that a dead taker left is cleared once")                                   \
    EQUIVALENT(S2_BACK, SWAP_NEXT, "nothing follows it in its operation")                                              \
    EQUIVALENT(S2_DEPTH, SWAP_NEXT, "the slot that is cleared is not the one that is posted to")                       \
    CAUGHT(S2_HELP, SWAP_NEXT, "directed: a slot that a dead taker left is cleared once")                              \
    CAUGHT(S3_BACK, SWAP_NEXT, "random")                                                                               \
    EQUIVALENT(S3_CLEAR, SWAP_NEXT, "nothing follows it in its operation")                                             \
    CAUGHT(R1, SWAP_NEXT, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    EQUIVALENT(R2, SWAP_NEXT, "until the slot is cleared the block word names the queue, so that a close clears it")   \
    EQUIVALENT(R3, SWAP_NEXT, "who made the slot stale clears it; the hint is only a hint")                            \
    CAUGHT(RQ1, SWAP_NEXT,                                                                                             \
        "directed: a receiver of a former incarnation leaves the next one's requeued messages alone")                  \
    CAUGHT(RQ2, SWAP_NEXT, "directed: a delete may die at any step")                                                   \
    EQUIVALENT(RQ3, SWAP_NEXT, "when the count is noted does not matter, only that it was read before the search")     \
    CAUGHT(Q1, SWAP_NEXT, "directed: two makers of one name get one queue")                                            \
    CAUGHT(Q2, SWAP_NEXT, "directed: two makers of one name get one queue")                                            \
    CAUGHT(Q_SHARING, SWAP_NEXT, "directed: shared or exclusive is decided once")                                      \
    EQUIVALENT(Q_SHUT, SWAP_NEXT, "the next write, W2, is to the same word")                                           \
    CAUGHT(QC1, SWAP_NEXT, "directed: the record of a closed queue stays taken while its messages are held")           \
    CAUGHT(QC2, SWAP_NEXT, "directed: the record of a closed queue stays taken while its messages are held")           \
    EQUIVALENT(QC3, SWAP_NEXT, "a stale slot of a closing queue harms nobody: the next maker rewrites it")             \
    CAUGHT(CLAIM, SWAP_NEXT, "directed: a claim on a former incarnation does not bind the next")                       \
    EQUIVALENT(UNCLAIM, SWAP_NEXT, "nothing follows it in its operation")                                              \
    CAUGHT(N1, SWAP_NEXT, "directed: two makers of one name get one queue")                                            \
    CAUGHT(N2, SWAP_NEXT, "random")                                                                                    \
    EQUIVALENT(C1, SWAP_NEXT, "DEAD is shown, never asked for: the lock tells")                                        \
    CAUGHT(C3_FREE, SWAP_NEXT, "directed: an allocator and its recoverer may die at any steps")                        \
    EQUIVALENT(C3_BACK, SWAP_NEXT, "the next write is to the same word")                                               \
    CAUGHT(C3_SETTLE, SWAP_NEXT, "directed: a slot that a dead taker left is cleared once")                            \
    CAUGHT(C3_REQUEUE, SWAP_NEXT, "directed: a queue deleted during a close keeps no requeued message")                \
    CAUGHT(C3_UNDO, SWAP_NEXT, "directed: a queue deleted during a close keeps no requeued message")                   \
    CAUGHT(C4_CLAIM, SWAP_NEXT, "directed: the recoverer of a claimant may stop or die at any step")                   \
    EQUIVALENT(A3, SWAP_NEXT, "a claim is dropped a little later; nobody waits for it")                                \
    CAUGHT(SPM, SWAP_NEXT, "directed: an allocator may die at any step")                                               \
    CAUGHT(SP1, SWAP_NEXT, "directed: a scan sees every block that a split uncovered")                                 \
    EQUIVALENT(SP2, SWAP_NEXT, "the unit's head is given out a little later; nobody waits for it")                     \
    EQUIVALENT(F0, SWAP_NEXT, "as above")                                                                              \
    CAUGHT(F1, SWAP_NEXT, "directed: a receiver of a former incarnation takes nothing from the next")                  \
    CAUGHT(F2, SWAP_NEXT, "directed: a scan sees every block that a split uncovered")                                  \
    EQUIVALENT(M3, SWAP_NEXT, "nothing follows it in its operation")                                                   \
    EQUIVALENT(S_LENGTH, SWAP_NEXT, "both before S1")                                                                  \
    EQUIVALENT(S_LABEL, SWAP_NEXT, "both before S1")                                                                   \
    EQUIVALENT(S_ENVELOPE, SWAP_NEXT, "both before S1")                                                                \
    EQUIVALENT(S_SENDER, SWAP_NEXT, "both before S1")                                                                  \
    CAUGHT(S_FROM, SWAP_NEXT, "directed: a forwarded message survives its forwarder's death at any step")              \
    EQUIVALENT(S_EPOCH, SWAP_NEXT,                                                                                     \
        "before the post nobody reads M[0] but the sender's close, which finds no epoch and frees it")                 \
    CAUGHT(S1, SWAP_NEXT, "directed: a slot that a dead taker left is cleared once")                                   \
    EQUIVALENT(S2_TAIL, SWAP_NEXT, "a hint: it costs a walk")                                                          \
    EQUIVALENT(R2_HEAD, SWAP_NEXT, "a hint: it costs a walk")                                                          \
    EQUIVALENT(R2_SEQ, SWAP_NEXT, "the receiver alone reads it before its death")                                      \
    EQUIVALENT(R_COUNT, SWAP_NEXT, "nothing follows it in its operation")                                              \
    EQUIVALENT(ACK, SWAP_NEXT,                                                                                         \
        "whose owner died while its bit was clear is free, whatever queue it came from")                               \
    EQUIVALENT(Q1_SLOT, SWAP_NEXT, "nobody looks at a queue that is being built")                                      \
    CAUGHT(Q1_FIELD, SWAP_NEXT, "directed: a helper does not open the half-built queue of a later maker")              \
    CAUGHT(QC4, SWAP_NEXT, "directed: a slot that a dead taker left is cleared once")                                  \
    EQUIVALENT(N3, SWAP_NEXT, "nothing follows it in its operation")                                                   \
    CAUGHT(W1, SWAP_NEXT, "directed: two sleepers and two posts leave nobody asleep")                                  \
    CAUGHT(W2, SWAP_NEXT, "directed: an announcement of the dead costs nobody a wake")                                 \
    CAUGHT(W3, SWAP_NEXT, "directed: one sleeper and one send miss each other at no step")                             \
    CAUGHT(W4, SWAP_NEXT, "directed: a post while a sleeper wakes leaves nobody asleep")                               \
    EQUIVALENT(P1, SWAP_NEXT, "for display only")                                                                      \
    EQUIVALENT(P2, SWAP_NEXT, "nothing follows it in its operation")                                                   \
    EQUIVALENT(P_CACHED, SWAP_NEXT, "for display only")                                                                \
    CAUGHT(C4_RQ, SWAP_NEXT, "directed: whoever adopts a dead one's slot may die at any step of it")                   \
    EQUIVALENT(C5, SWAP_NEXT, "nothing follows it in its operation")                                                   \
    EQUIVALENT(S_ENVELOPE, SWAP_SECOND, "both before S1")                                                              \
    EQUIVALENT(Q1_SLOT, SWAP_SECOND, "nobody looks at a queue that is being built")                                    \
    CAUGHT(DROP, CAS_AS_STORE, "random")                                                                               \
    CAUGHT(T_UNPOST, CAS_AS_STORE, "directed: a publisher that posts after a drain clears no slot of the next ring")   \
    CAUGHT(T_SEEN, CAS_AS_STORE, "directed: a ticket of a block that has come round is left alone")                    \
    CAUGHT(T_CLEAR, CAS_AS_STORE, "directed: the recoverer of a subscriber may stop or die at any step")               \
    CAUGHT(T_LAST, CAS_AS_STORE, "directed: the recoverer of a subscriber may stop or die at any step")                \
    EQUIVALENT(T_ALONE, CAS_AS_STORE,                                                                                  \
        "while one ticket is set and no other, nobody but its holder changes the block word")                          \
    CAUGHT(Q_INDICES, CAS_AS_STORE, "directed: subscribers that come at once are all met")                             \
    CAUGHT(Q3, CAS_AS_STORE, "directed: who finds no subscriber index leaves nothing behind")                          \
    CAUGHT(QC_SUB, CAS_AS_STORE, "directed: who finds no subscriber index leaves nothing behind")                      \
    CAUGHT(Q_TOPIC, CAS_AS_STORE, "directed: a helper does not open the half-built topic of a later maker")            \
    CAUGHT(Q_TOPIC_OPEN, CAS_AS_STORE, "directed: a helper does not open the half-built topic of a later maker")       \
    CAUGHT(C3_TICKET, CAS_AS_STORE, "directed: the recoverer of a subscriber may stop or die at any step")             \
    CAUGHT(T_OPEN, STALE_LOAD, "directed: a ticket of a block that has come round is left alone")                      \
    CAUGHT(T_GEN, STALE_LOAD, "directed: a subscriber index is not used again while a message is held under it")       \
    CAUGHT(T_ZERO, STALE_LOAD, "directed: who finds no subscriber index leaves nothing behind")                        \
    CAUGHT(DROP, SKIP, "directed: who finds no subscriber index leaves nothing behind")                                \
    CAUGHT(T_NUMBER, SKIP, "directed: who finds no subscriber index leaves nothing behind")                            \
    CAUGHT(T_WORDS, SKIP, "directed: who finds no subscriber index leaves nothing behind")                             \
    CAUGHT(T_WANT, SKIP, "directed: who finds no subscriber index leaves nothing behind")                              \
    CAUGHT(T_FANOUT, SKIP, "directed: who finds no subscriber index leaves nothing behind")                            \
    EQUIVALENT(T_UNPOST, SKIP, "the slot is stale without its ticket, and whoever comes by clears it")                 \
    CAUGHT(T_SEEN, SKIP, "directed: who finds no subscriber index leaves nothing behind")                              \
    CAUGHT(T_CLEAR, SKIP, "directed: who finds no subscriber index leaves nothing behind")                             \
    CAUGHT(T_LAST, SKIP, "directed: who finds no subscriber index leaves nothing behind")                              \
    CAUGHT(T_ALONE, SKIP, "directed: nobody has a message alone that is still to be posted")                           \
    CAUGHT(Q_INDICES, SKIP, "directed: a subscriber index is not used again while a message is held under it")         \
    CAUGHT(Q3, SKIP, "directed: who finds no subscriber index leaves nothing behind")                                  \
    CAUGHT(QC_SUB, SKIP, "directed: who finds no subscriber index leaves nothing behind")                              \
    CAUGHT(Q_TOPIC, SKIP, "directed: a helper does not open the half-built topic of a later maker")                    \
    CAUGHT(Q_TOPIC_OPEN, SKIP, "directed: a helper does not open the half-built topic of a later maker")               \
    CAUGHT(C3_TICKET, SKIP, "directed: a subscriber index is not used again while a message is held under it")         \
    EQUIVALENT(DROP, SWAP_NEXT, "when a drop is counted does not matter")                                              \
    CAUGHT(T_NUMBER, SWAP_NEXT, "directed: who edits a published message in place has it alone")                       \
    EQUIVALENT(T_WORDS, SWAP_NEXT, "both before T_FANOUT")                                                             \
    CAUGHT(T_WANT, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                         \
    CAUGHT(T_FANOUT, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                       \
    EQUIVALENT(T_UNPOST, SWAP_NEXT, "the slot is stale without its ticket, and whoever comes by clears it")            \
    CAUGHT(T_SEEN, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                         \
    CAUGHT(T_CLEAR, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                        \
    CAUGHT(T_LAST, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                         \
    EQUIVALENT(T_ALONE, SWAP_NEXT, "nothing follows it in its operation")                                              \
    CAUGHT(Q_INDICES, SWAP_NEXT, "directed: subscribers that come at once are all met")                                \
    CAUGHT(Q3, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                             \
    CAUGHT(QC_SUB, SWAP_NEXT, "directed: who finds no subscriber index leaves nothing behind")                         \
    CAUGHT(Q_TOPIC, SWAP_NEXT, "directed: a helper does not open the half-built topic of a later maker")               \
    CAUGHT(Q_TOPIC_OPEN, SWAP_NEXT, "directed: a topic has one number, whoever dies making it")                        \
    CAUGHT(C3_TICKET, SWAP_NEXT, "directed: who edits a published message in place has it alone")                      \
    EQUIVALENT(T_WORDS, SWAP_SECOND, "both before T_FANOUT")                                                           \
    EQUIVALENT(T_WANT, SWAP_SECOND, "both before T_FANOUT")                                                            \
    CAUGHT(T_CLEAR, SWAP_SECOND, "directed: who edits a published message in place has it alone")                      \
    CAUGHT(Q1_FIELD, SWAP_SECOND, "directed: two makers of one name get one queue")

#define LAP_GAPS(CAUGHT, EQUIVALENT) \
    CAUGHT(0, "directed: a late post never meets a later incarnation, however many laps on")                           \
    EQUIVALENT(1, "no CAS expects a later lap than some slot has had")

#endif
