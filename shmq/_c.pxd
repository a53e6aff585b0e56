# SPDX-License-Identifier: MIT
"""What the Cython modules use of include/shmq/shmq.h; no logic, each symbol once."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libcpp cimport bool as c_bool  # C's bool, too


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *object)


cdef extern from "shmq/shmq.h" nogil:
    int SHMQ_OK, SHMQ_FULL, SHMQ_EMPTY, SHMQ_DROPPED, SHMQ_SHARED_BLOCK
    int SHMQ_NO_BLOCKS, SHMQ_NO_QUEUES, SHMQ_NO_SPACE, SHMQ_IN_USE
    int SHMQ_INVALID, SHMQ_MISMATCH, SHMQ_NO_INDEX
    int SHMQ_MAX_DIMENSIONS
    int SHMQ_HOPE_NONE, SHMQ_HOPE_CACHED

    enum shmq_kind:
        SHMQ_KIND_INBOX
        SHMQ_KIND_WORK
        SHMQ_KIND_SUBSCRIBER

    enum shmq_policy:
        SHMQ_POLICY_BLOCK
        SHMQ_POLICY_DROP_OLDEST
        SHMQ_POLICY_DROP_NEWEST
    int SHMQ_PROCESS_LIVE
    uint64_t SHMQ_POSITION_UNKNOWN, SHMQ_LENGTH_ENVELOPE

    struct shmq_geometry:
        uint32_t granule_shift, granules, tiers, max_order, max_processes, max_queues, queues, max_topics
        uint64_t admin_size, reserve_size, data_size

    struct shmq_block:
        pass

    struct shmq_queue:
        uint64_t claim, dropped

    struct shmq_map:
        shmq_geometry geometry
        unsigned char *admin
        unsigned char *data
        shmq_block *block
        shmq_queue *queue

    struct shmq_cache:
        uint32_t blocks, granules, limit

    struct shmq_actor:
        const shmq_map *map
        uint32_t slot, epoch
        shmq_cache cache
        uint64_t corrupt

    struct shmq_queue_ref:
        shmq_queue *queue
        uint32_t qid, epoch, kind, capacity_shift
        uint64_t depth, base

    struct shmq_queue_spec:
        shmq_kind kind
        shmq_policy policy
        uint32_t depth
        const char *name

    struct shmq_hold:
        uint32_t block
        uint64_t word

    struct shmq_publisher:
        uint32_t topic
        shmq_queue_ref ref[120]

    struct shmq_publication:
        uint32_t reached

    struct shmq_audience:
        uint32_t subscribers
        uint64_t depth, waiting

    struct shmq_parcel:
        uint64_t length
        uint32_t label

    struct shmq_message:
        shmq_hold hold
        uint32_t qid, epoch
        uint64_t length
        uint32_t label, deliveries
        uint64_t position
        uint32_t sender_slot, sender_epoch

    struct shmq_array_type:
        char kind, byte_order
        uint32_t item_size, dimensions
        uint64_t shape[6]

    struct shmq_wait_point:
        uint64_t *announce
        uint64_t bit
        uint64_t *seq

    struct shmq_spin:
        uint64_t budget_ns

    struct shmq_process_info:
        uint32_t epoch, state
        uint64_t pid, start_time, pid_namespace
        char name[104]

    struct shmq_holdings:
        uint32_t loans, held, queued, cached
        uint64_t bytes, cached_bytes

    struct shmq_queue_info:
        char name[104]
        uint64_t depth, count, claim, dropped
        shmq_kind kind
        uint32_t topic, owner
        shmq_policy policy
        c_bool shared, shut

    struct shmq_census:
        shmq_holdings process[1024]
        uint64_t used_bytes, queued_bytes, requeued_bytes
        uint32_t queued, requeued

    uint32_t shmq_block_owner(uint64_t word)
    uint64_t shmq_block_offset(const shmq_map *map, uint32_t block)
    unsigned char *shmq_payload(const shmq_map *map, uint32_t block)
    uint64_t shmq_length_bytes(uint64_t word)

    uint32_t shmq_claim_epoch(uint64_t word)
    uint32_t shmq_claim_slot(uint64_t word)

    int shmq_queue_open(shmq_actor *actor, const shmq_queue_spec *spec, c_bool create, shmq_queue_ref *ref)
    int shmq_queue_ref_init(const shmq_map *map, uint32_t qid, uint32_t epoch, shmq_queue_ref *ref)
    int shmq_queue_delete(shmq_actor *actor, const shmq_queue_ref *ref)
    int shmq_queue_shut(shmq_actor *actor, const shmq_queue_ref *ref)
    int shmq_queue_claim(shmq_actor *actor, const shmq_queue_ref *ref, c_bool shared, shmq_policy policy,
                         uint64_t *holder)
    void shmq_queue_unclaim(shmq_actor *actor, const shmq_queue_ref *ref)
    uint64_t shmq_queue_count(const shmq_queue_ref *ref)

    int shmq_loan(shmq_actor *actor, uint64_t nbytes, shmq_hold *loan)
    int shmq_send(shmq_actor *actor, const shmq_queue_ref *ref, shmq_hold *loan, const shmq_parcel *parcel)
    c_bool shmq_make_room(shmq_actor *actor, const shmq_queue_ref *ref)
    int shmq_send_or_drop(shmq_actor *actor, const shmq_queue_ref *ref, shmq_hold *loan, const shmq_parcel *parcel)
    int shmq_edit(shmq_actor *actor, shmq_hold *hold)
    int shmq_forward(shmq_actor *actor, const shmq_queue_ref *ref, shmq_message *message)
    int shmq_forward_or_drop(shmq_actor *actor, const shmq_queue_ref *ref, shmq_message *message)
    int shmq_hold_check(const shmq_actor *actor, const shmq_hold *hold)
    c_bool shmq_is_ticket(uint64_t hold_word)
    void shmq_envelope_copy(shmq_block *target, const shmq_block *source)

    int shmq_topic_name(const shmq_map *map, uint32_t topic, char *text)
    int shmq_topic_open(shmq_actor *actor, const char *name, uint32_t *topic)
    int shmq_subscribe(shmq_actor *actor, uint32_t topic, uint32_t depth, shmq_policy policy, shmq_queue_ref *ref)
    int shmq_unsubscribe(shmq_actor *actor, const shmq_queue_ref *ref)
    void shmq_publisher_init(shmq_publisher *publisher, uint32_t topic)
    void shmq_publisher_look(const shmq_map *map, shmq_publisher *publisher, shmq_audience *audience)
    c_bool shmq_publisher_make_room(shmq_actor *actor, shmq_publisher *publisher)
    void shmq_publisher_shut(shmq_actor *actor, shmq_publisher *publisher)
    int shmq_publish_start(shmq_actor *actor, shmq_publisher *publisher, shmq_hold *loan, const shmq_parcel *parcel,
                           shmq_publication *publication)
    int shmq_publish_try(shmq_actor *actor, const shmq_publisher *publisher, shmq_publication *publication)
    void shmq_publish_finish(shmq_actor *actor, const shmq_publisher *publisher, shmq_publication *publication)
    uint32_t shmq_publication_pending(const shmq_publication *publication, uint32_t index)

    int shmq_queue_find_inbox(const shmq_map *map, const char *name, shmq_queue_ref *ref)
    uint64_t shmq_queue_dropped(const shmq_queue_ref *ref)
    void shmq_close_except(shmq_actor *actor, const uint32_t *kept, uint32_t count)
    int shmq_receive(shmq_actor *actor, const shmq_queue_ref *ref, shmq_message *message)
    int shmq_release(shmq_actor *actor, shmq_hold *hold)
    int shmq_envelope_write(shmq_block *block, const shmq_array_type *type)
    int shmq_envelope_read(const shmq_block *block, uint64_t nbytes, shmq_array_type *type)
    uint64_t shmq_array_bytes(const shmq_array_type *type)

    void shmq_cache_flush(shmq_actor *actor)
    void shmq_cache_resize(shmq_actor *actor)
    int shmq_blocks_elsewhere(const shmq_actor *actor)

    void shmq_spin_init(shmq_spin *spin)
    void shmq_spin_learn(shmq_spin *spin, uint64_t ns)
    shmq_wait_point shmq_starved(const shmq_map *map)
    uint32_t shmq_wait_announce(shmq_wait_point point)
    int shmq_wait_sleep(const shmq_map *map, shmq_wait_point point, uint32_t seq, uint64_t ns)
    c_bool shmq_await_burst(const shmq_map *map, const shmq_queue_ref *ref, c_bool receiver)
    c_bool shmq_await_spin(const shmq_map *map, const shmq_queue_ref *ref, c_bool receiver, uint64_t ns,
                           shmq_spin *spin)
    c_bool shmq_await_room(const shmq_map *map, const shmq_queue_ref *ref, uint32_t looks)
    int shmq_await_sleep(const shmq_map *map, const shmq_queue_ref *ref, c_bool receiver, uint64_t ns)
    void shmq_await_leave(const shmq_map *map, const shmq_queue_ref *ref, c_bool receiver)

    void shmq_process_info_load "shmq_process_info" (const shmq_map *map, uint32_t slot, shmq_process_info *info)
    void shmq_wake_everybody(const shmq_map *map)
    uint32_t shmq_process_count(const shmq_map *map)
    uint64_t shmq_undelivered(const shmq_map *map)
    void shmq_census_take(shmq_census *census, const shmq_map *map)
    c_bool shmq_queue_describe(const shmq_map *map, uint32_t qid, shmq_queue_info *info)
