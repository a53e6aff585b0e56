# SPDX-License-Identifier: MIT
"""What the Cython modules use of the region's files and life (include/shmq/region.h); no logic, each symbol once.

Only shmq._attachment calls what opens, lists or unlinks: each module has a guard against SIGBUS of its own (guard.h).
"""

from libc.stdint cimport uint32_t, uint64_t
from libcpp cimport bool as c_bool

from shmq._c cimport shmq_actor, shmq_map, shmq_queue_ref


cdef extern from "shmq/shmq.h" nogil:
    int SHMQ_REGION_EITHER, SHMQ_REGION_CREATE, SHMQ_REGION_ATTACH
    int SHMQ_ERROR_GONE, SHMQ_ERROR_NOT_FOUND, SHMQ_ERROR_PERMISSION
    int SHMQ_HANDED_ADMIN, SHMQ_HANDED_DATA, SHMQ_HANDED_LOCK

    struct shmq_error:
        int code, os_errno
        const char *what
        uint64_t found, expected, asked, available
        uint32_t uid, gid, owner, group, mode, type, links, pid_count
        uint64_t pids[16]
        char path[1]

    struct shmq_region_options:
        const char *name
        const char *directory
        const char *process
        uint64_t size, granule
        uint32_t max_processes, max_queues, mode
        int how
        c_bool persist, prefault, receive_only, sole_writer

    struct shmq_directory:
        c_bool per_user, shared
        char path[1]

    struct shmq_estate:
        pass

    struct shmq_region:
        shmq_estate estate
        shmq_directory directory
        shmq_map map
        shmq_actor self
        shmq_queue_ref inbox
        uint64_t id, pid
        c_bool persist, receive_only

    struct shmq_region_info:
        char name[101]
        uint64_t id, size, granule, creator_pid, created_ns
        uint32_t max_processes, max_queues, attached
        c_bool persist
        shmq_error error

    ctypedef void shmq_region_visit(void *context, const shmq_region_info *info) noexcept

    int shmq_region_open(shmq_region *region, const shmq_region_options *options, shmq_error *error)
    int shmq_region_create_anonymous(shmq_region *region, const shmq_region_options *options, shmq_error *error)
    int shmq_region_attach_handed(shmq_region *region, const int *handed, const shmq_region_options *options,
                                  shmq_error *error)
    int shmq_region_hand(shmq_region *region, c_bool receive_only, int *handed, shmq_error *error)
    int shmq_region_look(const shmq_region *region, shmq_error *error)
    void shmq_region_tell_loss(const shmq_region *region, int *usable)
    int shmq_guard_install()
    void shmq_fork_disown(shmq_estate *estate)
    int shmq_region_recover(shmq_region *region, shmq_error *error)
    void shmq_region_refusal(shmq_region *region, shmq_error *error)
    const uint64_t SHMQ_SWEEP_NS, SHMQ_SWEEP_SOON_NS
    int shmq_region_sweep_due(shmq_region *region, uint64_t now, uint64_t interval)
    int shmq_region_list(const char *directory, shmq_region_visit *visit, void *context, shmq_error *error)
    int shmq_region_unlink(const char *name, const char *directory, c_bool missing_ok, shmq_error *error)
    int shmq_region_need_inbox(shmq_region *region, shmq_error *error)
    uint64_t shmq_os_now()


cdef extern from "standing.h" nogil:
    struct shmq_standing:
        int open, attached, mapped

    struct shmq_attached:
        shmq_region region
        shmq_standing *standing
        int waiting
