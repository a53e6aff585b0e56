/* SPDX-License-Identifier: MIT */
/* A queue, its senders and receivers, its deletion and re-making, and the death of any of them before any step: all
 * interleavings, each access to shared memory one step, named as in docs/design.md. Memory is sequentially consistent
 * here; orders are what tests/models/orders.cc is about. Two blocks, two slots, one queue.
 *
 * The environment says what plays: SENDERS, RECEIVERS, DELETERS (each 0 to 2) and DEATHS; EACH, how many messages a
 * sender sends and a receiver asks for; HELD, 1 where receiver 2 has died holding a message, 2 where its slot still
 * names it; and by DROP the number of a step that is left out: the model must notice. A search that came to that step
 * says so in the end. What is left of the messages is received by an auditor, last of all.
 */
c_code { \#include <stdlib.h> }
c_code {
    static int setting(const char *name) { const char *text = getenv(name); return text ? atoi(text) : 0; }
    static int left_out;
    static void tell(void) { if (left_out) puts("a step was left out"); }
}

#define CAPACITY 2
#define BLOCKS 2
#define MESSAGES 4          /* at most two of each sender */
#define ACTORS 7            /* 0, 1: senders; 2, 3: receivers; 4, 5: deleters; 6: the auditor */
#define AUDITOR 6
#define NOBODY 7

/* D = gen | state | held from the queue | owner */
#define FREE 0
#define OWNED 1
#define QUEUED 2
#define REQUEUE 3
#define BLOCK(gen, state, held, owner) ((gen) * 64 + (state) * 16 + (held) * 8 + (owner))
#define GEN(d) ((d) / 64)
#define STATE(d) (((d) / 16) % 4)
#define HELD(d) (((d) / 8) % 2)
#define OWNER(d) ((d) % 8)

/* slot = lap | gen | block + 1 */
#define SLOT(lap, gen, value) ((lap) * 256 + ((gen) % 64) * 4 + (value))
#define EMPTY_SLOT(lap) SLOT(lap, 0, 0)
#define LAP(s) ((s) / 256)
#define SLOT_GEN(s) (((s) / 4) % 64)
#define VALUE(s) ((s) % 4)
#define MATCHES(d, s) (STATE(d) == QUEUED && GEN(d) % 64 == SLOT_GEN(s))

/* flags = epoch | owner | bits */
#define OPEN 1
#define USED 2
#define CLOSING 4
#define FLAGS(epoch, owner, bits) ((epoch) * 64 + (owner) * 8 + (bits))
#define EPOCH(f) ((f) / 64)
#define FLAGS_OWNER(f) (((f) / 8) % 8)
#define IS_OPEN(f) ((f) % 2)
#define IS_USED(f) (((f) / 2) % 2)
#define IS_CLOSING(f) (((f) / 4) % 2)

#define HINT(epoch, position) ((epoch) * 256 + (position))
#define HINTED(hint, epoch, base) ((hint) / 256 == (epoch) -> (hint) % 256 : (base))

/* The steps that may be left out; numbers that the driver knows, too. */
#define A1 1
#define S_LABEL 2
#define S_EPOCH 3
#define S1 4
#define S2 5
#define S2_EPOCH 6
#define S2_BACK 7
#define S3 8
#define S3_BACK 9
#define S3_CLEAR 10
#define S2_TAIL 11
#define S2_HELP 12
#define R1 13
#define R1_EPOCH 14
#define R2 15
#define R2_HEAD 16
#define R3 17
#define RQ1 18
#define RQ1_EPOCH 19
#define RQ2 20
#define RQ3 21
#define ACK 22
#define F2 23
#define QC1 24
#define QC2 25
#define QC3 26
#define QC4 27
#define Q1 28
#define Q1_SLOT 29
#define Q2 30
#define C3_FREE 31
#define C3_BACK 32
#define C3_REQUEUE 33
#define C3_RECHECK 34
#define C3_UNDO 35
#define C4_RQ 36
#define C3_FLAGS 37
#define READ 255 /* never left out */

/* shared memory */
short D[BLOCKS];
byte label[BLOCKS];
short m0[BLOCKS];           /* epoch of the queue | gen % 64 */
short slot[CAPACITY];
short flags;
byte base;
short tail, head;
byte requeued, requeued_done;

/* the kernel, and what the checks remember */
bool dead[ACTORS];
byte deaths;                /* that may still happen */
byte drop;
byte each;
byte running;               /* actors that have neither ended nor been closed */
byte receivers_died;
bool posted[MESSAGES], back[MESSAGES];
byte got[MESSAGES], epoch_of[MESSAGES];

/* One step: done, left out, or its process dies before it. `code` never blocks. */
#define STEP(name, code, without)                                                       \
    if                                                                                  \
    :: atomic { drop != name -> code }                                                  \
    :: atomic { drop == name -> c_code { left_out = 1; }; without }                     \
    :: atomic { deaths > 0 && mortal -> deaths--; goto died }                           \
    fi
#define CAS(word, old, new) if :: word == old -> word = new; ok = true :: else -> ok = false fi
#define LOOK(code) STEP(READ, code, skip)

/* A block that is this process's own, as d, becomes free. */
#define GIVE_BACK(name) STEP(name, D[b] = BLOCK(GEN(d) + 1, FREE, 0, 0), skip)

/* ---- sending ---- */

proctype sender(byte me)
{
    short d, s, f, t, epoch, from, queued;
    short distance;
    byte b, m, other;
    bool ok, mortal = true, stands;

    atomic { f = flags; epoch = EPOCH(f); from = base; m = me * 2 }
    do
    :: m == me * 2 + each -> break
    :: else ->
        atomic { epoch_of[m] = epoch; stands = false }
        STEP(A1, b = 0;
            do :: b < BLOCKS && STATE(D[b]) != FREE -> b++ :: else -> break od;
            ok = b < BLOCKS;
            if :: ok -> d = BLOCK(GEN(D[b]), OWNED, 0, me); D[b] = d :: else fi,
            ok = true; b = 0; d = BLOCK(GEN(D[b]), OWNED, 0, me));
        if :: !ok -> break :: else fi;
        STEP(S_LABEL, label[b] = m, skip);
        queued = BLOCK(GEN(d) + 1, QUEUED, 0, me);
        STEP(S_EPOCH, m0[b] = epoch * 64 + GEN(queued) % 64, skip);
        STEP(S1, D[b] = queued, skip);
        LOOK(t = HINTED(tail, epoch, from));
        do
        :: true ->
            LOOK(s = slot[t % CAPACITY]; distance = LAP(s) - t / CAPACITY);
            STEP(S2_EPOCH, f = flags, skip);
            if
            :: EPOCH(f) != epoch || !IS_OPEN(f) -> break
            :: else ->
                if
                :: distance == 0 && VALUE(s) == 0 ->
                    STEP(S2, CAS(slot[t % CAPACITY], s, SLOT(LAP(s), GEN(queued), b + 1));
                        if :: ok -> s = slot[t % CAPACITY]; stands = true; posted[m] = true :: else fi,
                        ok = true; stands = true; posted[m] = true);
                    if :: ok -> STEP(S2_TAIL, tail = HINT(epoch, t + 1), skip); break :: else fi
                :: distance == 0 && VALUE(s) != 0 -> t++
                :: distance > 0 && VALUE(s) != 0 -> t = t + distance * CAPACITY + 1
                :: distance > 0 && VALUE(s) == 0 -> t = t + (distance - 1) * CAPACITY + 1
                :: distance < 0 && VALUE(s) != 0 ->
                    other = VALUE(s) - 1;
                    LOOK(d = D[other]);
                    LOOK(ok = slot[t % CAPACITY] == s);
                    if
                    :: !ok -> skip
                    :: ok && MATCHES(d, s) -> break /* full */
                    :: else -> STEP(S2_HELP, CAS(slot[t % CAPACITY], s, EMPTY_SLOT(LAP(s) + 1)), break)
                    fi
                :: distance < 0 && VALUE(s) == 0 -> break
                fi
            fi
        od;
        d = BLOCK(GEN(queued), OWNED, 0, me);
        if
        :: stands ->
            STEP(S3, f = flags, f = FLAGS(epoch, NOBODY, OPEN + USED));
            if
            :: EPOCH(f) != epoch || !IS_OPEN(f) ->
                STEP(S3_BACK, CAS(D[b], queued, d); if :: ok -> back[m] = true :: else fi, ok = true; back[m] = true);
                if
                :: ok ->
                    STEP(S3_CLEAR, CAS(slot[t % CAPACITY], s, EMPTY_SLOT(LAP(s) + 1)), skip);
                    GIVE_BACK(F2)
                :: else
                fi
            :: else
            fi
        :: else ->
            STEP(S2_BACK, CAS(D[b], queued, d), ok = true);
            if :: ok -> GIVE_BACK(F2) :: else fi
        fi;
        atomic { /* what is over is forgotten: fewer states */
            d = 0; s = 0; f = 0; t = 0; queued = 0; distance = 0; b = 0; other = 0; ok = false; m++
        }
    od;
    atomic { running--; goto ended };
died:
    dead[me] = true;
ended:
    skip
}

/* ---- receiving ---- */

#define RECEIVED assert(label[b] < MESSAGES); got[label[b]]++

proctype receiver(byte me; byte tries)
{
    short d, s, f, h, epoch, from, mine;
    short distance, wanted, done;
    byte b;
    bool ok, mortal, have;

    atomic { mortal = me != AUDITOR; f = flags; epoch = EPOCH(f); from = base }
    do
    :: tries == 0 -> break
    :: else ->
        have = false;
        LOOK(wanted = requeued);
        LOOK(done = requeued_done);
        if
        :: wanted != done ->
            b = 0;
            do
            :: b < BLOCKS && !have ->
                LOOK(d = D[b]; f = m0[b]); /* M[0] is written before its block becomes this queue's */
                if
                :: STATE(d) == REQUEUE ->
                    s = f;
                    STEP(RQ1_EPOCH, f = flags, f = FLAGS(epoch, NOBODY, OPEN + USED));
                    if
                    :: EPOCH(f) != epoch -> goto closed
                    :: EPOCH(f) == epoch && s == epoch * 64 + GEN(d) % 64 ->
                        mine = BLOCK(GEN(d), OWNED, 1, me);
                        STEP(RQ1, CAS(D[b], d, mine); if :: ok -> RECEIVED :: else fi, ok = true; RECEIVED);
                        if :: ok -> have = true :: else -> b++ fi
                    :: else ->
                        mine = BLOCK(GEN(d), OWNED, 0, me);
                        STEP(RQ2, CAS(D[b], d, mine), ok = false);
                        if :: ok -> d = mine; GIVE_BACK(F2) :: else fi;
                        b++
                    fi
                :: else -> b++
                fi
            :: else -> break
            od;
            if
            :: !have -> STEP(RQ3, if :: requeued_done == done -> requeued_done = wanted :: else fi, skip)
            :: else
            fi
        :: else
        fi;
        if
        :: !have ->
            LOOK(h = HINTED(head, epoch, from));
            do
            :: true ->
                LOOK(s = slot[h % CAPACITY]; distance = LAP(s) - h / CAPACITY);
                LOOK(f = flags);
                if
                :: EPOCH(f) != epoch -> goto closed
                :: EPOCH(f) == epoch && distance == 1 -> h++
                :: EPOCH(f) == epoch && distance > 1 -> h = h + (distance - 2) * CAPACITY + 1
                :: EPOCH(f) == epoch && (distance < 0 || (distance == 0 && VALUE(s) == 0)) -> break
                :: EPOCH(f) == epoch && distance == 0 && VALUE(s) != 0 ->
                    b = VALUE(s) - 1;
                    LOOK(d = D[b]);
                    LOOK(ok = slot[h % CAPACITY] == s);
                    STEP(R1_EPOCH, f = flags, skip);
                    if
                    :: !ok -> skip
                    :: ok && EPOCH(f) != epoch -> goto closed
                    :: ok && EPOCH(f) == epoch && MATCHES(d, s) ->
                        mine = BLOCK(GEN(d), OWNED, 1, me);
                        STEP(R1, CAS(D[b], d, mine), ok = true);
                        if
                        :: ok ->
                            have = true;
                            STEP(R2, CAS(slot[h % CAPACITY], s, EMPTY_SLOT(LAP(s) + 1)), skip);
                            STEP(R2_HEAD, head = HINT(epoch, h + 1), skip);
                            LOOK(RECEIVED);
                            break
                        :: else
                        fi
                    :: else ->
                        STEP(R3, CAS(slot[h % CAPACITY], s, EMPTY_SLOT(LAP(s) + 1)), skip);
                        STEP(R2_HEAD, head = HINT(epoch, h + 1), h++)
                    fi
                fi
            od
        :: else
        fi;
        if
        :: have ->
            assert(D[b] == mine);
            d = BLOCK(GEN(mine) + 1, OWNED, 0, me);
            STEP(ACK, D[b] = d, skip);
            GIVE_BACK(F2)
        :: else -> if :: me == AUDITOR -> break :: else fi
        fi;
        atomic {
            d = 0; s = 0; f = 0; h = 0; mine = 0; distance = 0; wanted = 0; done = 0; b = 0; ok = false;
            if :: me != AUDITOR -> tries-- :: else fi
        }
    od;
closed:
    atomic { running--; goto ended };
died:
    atomic { receivers_died++; dead[me] = true };
ended:
    skip
}

/* ---- the end of a queue, and its next incarnation ---- */

/* Empty the ring. The queue is CLOSING and `me`'s. */
#define DRAIN                                                                           \
    i = 0;                                                                              \
    do                                                                                  \
    :: i < CAPACITY ->                                                                  \
        LOOK(s = slot[i]);                                                              \
        if                                                                              \
        :: VALUE(s) == 0 -> i++                                                         \
        :: else ->                                                                      \
            b = VALUE(s) - 1;                                                           \
            LOOK(d = D[b]);                                                             \
            LOOK(ok = slot[i] == s);                                                    \
            if                                                                          \
            :: !ok -> skip                                                              \
            :: ok && !MATCHES(d, s) ->                                                  \
                STEP(QC3, CAS(slot[i], s, EMPTY_SLOT(LAP(s) + 1)), skip); i++           \
            :: else ->                                                                  \
                STEP(QC2, CAS(D[b], d, BLOCK(GEN(d), OWNED, 1, me)), ok = true);        \
                if                                                                      \
                :: ok ->                                                                \
                    d = BLOCK(GEN(d), OWNED, 1, me);                                    \
                    STEP(QC3, CAS(slot[i], s, EMPTY_SLOT(LAP(s) + 1)), skip);           \
                    GIVE_BACK(F2);                                                      \
                    i++                                                                 \
                :: else                                                                 \
                fi                                                                      \
            fi                                                                          \
        fi                                                                              \
    :: else -> break                                                                    \
    od

/* Free what is requeued of a queue that is not open, or of an older incarnation. */
#define DROP_STALE                                                                      \
    if                                                                                  \
    :: STATE(d) == REQUEUE ->                                                           \
        LOOK(s = m0[b]);                                                                \
        STEP(RQ1_EPOCH, f = flags, f = FLAGS(99, NOBODY, 0));                           \
        if                                                                              \
        :: s / 64 < EPOCH(f) || (s / 64 == EPOCH(f) && !IS_OPEN(f)) ->                  \
            STEP(RQ2, CAS(D[b], d, BLOCK(GEN(d), OWNED, 0, me)), ok = false);           \
            if :: ok -> d = BLOCK(GEN(d), OWNED, 0, me); GIVE_BACK(F2) :: else fi       \
        :: else                                                                         \
        fi                                                                              \
    :: else                                                                             \
    fi

proctype deleter(byte me)
{
    short d, s, f, lap;
    byte b, i;
    bool ok, mortal = true;

    LOOK(f = flags);
    if :: !IS_OPEN(f) -> goto finished :: else fi;
    STEP(QC1, CAS(flags, f, FLAGS(EPOCH(f), me, USED + CLOSING)), ok = true);
    if :: !ok -> goto finished :: else fi;
    DRAIN;
    b = 0;
    do
    :: b < BLOCKS -> LOOK(d = D[b]); DROP_STALE; b++
    :: else -> break
    od;
    STEP(QC4, flags = FLAGS(EPOCH(flags) + 1, 0, 0), skip);
    LOOK(f = flags);
    if :: IS_USED(f) -> goto finished :: else fi;
    STEP(Q1, CAS(flags, f, FLAGS(EPOCH(f) + 1, me, USED)), ok = true);
    if :: !ok -> goto finished :: else fi;
    f = FLAGS(EPOCH(f) + 1, me, USED);
    LOOK(lap = (LAP(slot[0]) > LAP(slot[1]) -> LAP(slot[0]) : LAP(slot[1])) + 2);
    STEP(Q1_SLOT, slot[0] = EMPTY_SLOT(lap), skip);
    STEP(Q1_SLOT, slot[1] = EMPTY_SLOT(lap), skip);
    LOOK(base = lap * CAPACITY);
    STEP(Q2, CAS(flags, f, FLAGS(EPOCH(f), NOBODY, USED + OPEN)), skip);
finished:
    atomic { running--; goto ended };
died:
    dead[me] = true;
ended:
    skip
}

/* ---- close(i) ---- */

/* Is the block's incarnation of the queue, m0 in s, the open one? */
#define CURRENT (IS_OPEN(f) && s == EPOCH(f) * 64 + GEN(d) % 64)

proctype closer(byte me)
{
    short d, s, f;
    byte b, i;
    bool ok, mortal = true, note, stands;

died: /* whoever starts over */
    note = false;
    LOOK(f = flags);
    if
    :: IS_USED(f) && FLAGS_OWNER(f) == me ->
        if
        :: !IS_CLOSING(f) -> STEP(QC1, CAS(flags, f, FLAGS(EPOCH(f), me, USED + CLOSING)), skip)
        :: else
        fi;
        DRAIN
    :: else
    fi;
    b = 0;
    do
    :: b < BLOCKS ->
        LOOK(d = D[b]);
        if
        :: STATE(d) == REQUEUE -> note = true; DROP_STALE
        :: STATE(d) == QUEUED && OWNER(d) == me ->
            STEP(C3_FLAGS, f = flags, f = FLAGS(0, NOBODY, OPEN));
            i = 0;
            stands = false;
            do
            :: i < CAPACITY ->
                LOOK(s = slot[i]; if :: VALUE(s) == b + 1 && MATCHES(d, s) -> stands = true :: else fi);
                i++
            :: else -> break
            od;
            if
            :: !(stands && IS_OPEN(f)) ->
                STEP(C3_BACK, CAS(D[b], d, BLOCK(GEN(d), OWNED, 0, me));
                    if :: ok -> if :: stands -> back[label[b]] = true :: else fi :: else fi, ok = false);
                if :: ok -> d = BLOCK(GEN(d), OWNED, 0, me); GIVE_BACK(C3_FREE) :: else fi
            :: else
            fi
        :: STATE(d) == OWNED && OWNER(d) == me && !HELD(d) -> GIVE_BACK(C3_FREE)
        :: STATE(d) == OWNED && OWNER(d) == me && HELD(d) ->
            LOOK(s = m0[b]);
            STEP(C3_FLAGS, f = flags, f = FLAGS(s / 64, NOBODY, OPEN));
            if
            :: CURRENT ->
                STEP(C3_REQUEUE, CAS(D[b], d, BLOCK(GEN(d), REQUEUE, 0, 0)), skip);
                note = true;
                STEP(C3_RECHECK, f = flags, skip);
                if
                :: !CURRENT ->
                    STEP(C3_UNDO, CAS(D[b], BLOCK(GEN(d), REQUEUE, 0, 0), BLOCK(GEN(d), OWNED, 0, me)), ok = false);
                    if :: ok -> GIVE_BACK(C3_FREE) :: else fi
                :: else
                fi
            :: else -> GIVE_BACK(C3_FREE)
            fi
        :: else
        fi;
        b++
    :: else -> break
    od;
    if :: note -> STEP(C4_RQ, requeued++, skip) :: else fi;
    LOOK(f = flags);
    if
    :: IS_USED(f) && FLAGS_OWNER(f) == me -> STEP(QC4, flags = FLAGS(EPOCH(f) + 1, 0, 0), skip)
    :: else
    fi;
    running--
}

/* ---- all that must hold in the end ---- */

init
{
    byte i;
    byte senders, receivers, deleters, held;

    d_step {
        c_code {
            atexit(tell);
            now.drop = setting("DROP"); now.deaths = setting("DEATHS"); now.each = setting("EACH");
            Pinit->senders = setting("SENDERS"); Pinit->receivers = setting("RECEIVERS");
            Pinit->deleters = setting("DELETERS"); Pinit->held = setting("HELD");
        };
        flags = FLAGS(1, NOBODY, USED + OPEN);
        if
        :: held ->
            D[0] = BLOCK(1, OWNED, 1, 2);
            m0[0] = 1 * 64 + 1;
            label[0] = 2; /* as the first of sender 1 */
            epoch_of[2] = 1;
            posted[2] = true;
            if :: held == 2 -> slot[0] = SLOT(0, 1, 1) :: else fi;
            receivers_died = 1;
            running = 1;
            dead[2] = true
        :: else
        fi
    }
    atomic {
        i = 0;
        do :: i < senders -> run sender(i); running++; i++ :: else -> break od;
        i = 0;
        do :: i < receivers -> run receiver(3 - i, each); running++; i++ :: else -> break od;
        i = 0;
        do :: i < deleters -> run deleter(4 + i); running++; i++ :: else -> break od
    }
    do /* a closer for each who dies; one that does not die needs none */
    :: atomic { dead[0] -> dead[0] = false; run closer(0) }
    :: atomic { dead[1] -> dead[1] = false; run closer(1) }
    :: atomic { dead[2] -> dead[2] = false; run closer(2) }
    :: atomic { dead[3] -> dead[3] = false; run closer(3) }
    :: atomic { dead[4] -> dead[4] = false; run closer(4) }
    :: atomic { dead[5] -> dead[5] = false; run closer(5) }
    :: atomic { running == 0 -> break }
    od;
    if
    :: atomic { IS_OPEN(flags) -> running = 1; run receiver(AUDITOR, 1) }
    :: !IS_OPEN(flags) -> skip /* nobody receives from it */
    fi;
    running == 0;
    d_step {
        i = 0;
        do
        :: i < BLOCKS ->
            assert(STATE(D[i]) == FREE);
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < MESSAGES ->
            assert(got[i] <= 1 + receivers_died);
            assert(got[i] == 0 || (posted[i] && !back[i]));
            assert(got[i] > 0 || !posted[i] || back[i] || EPOCH(flags) != epoch_of[i] || !IS_OPEN(flags));
            i++
        :: else -> break
        od;
        assert(IS_OPEN(flags) || !IS_USED(flags))
    }
}
