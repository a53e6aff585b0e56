# SPDX-License-Identifier: MIT
"""Every exception that shmq raises of its own.

Each derives from `ShmqError` and, where the standard library has the notion, from its class too, so that code written
for `queue.Queue` or for files keeps catching what it caught. A message states the fact, the value and the limit, and
what to do. Misuse that the standard library has no special class for (a negative timeout, a bad name, a released
message) is a plain `ValueError`, as it is there.

`Full`, `Empty` and `ShutDown` derive from the classes of the standard module `queue`, which imports `threading` and
costs 5 ms. They are therefore made on first use: by `shmq.Full`, by an `except` clause that is reached, or when the
first one is raised.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import queue

__all__ = [
    "DecodeError",
    "Empty",
    "EncodeError",
    "ForkedHandleError",
    "Full",
    "NoReceiver",
    "OutOfBlocks",
    "PeerDied",
    "QueueClosedError",
    "QueueInUseError",
    "RegionCorruptError",
    "RegionExistsError",
    "RegionFileError",
    "RegionGoneError",
    "RegionNotFoundError",
    "RegionPermissionError",
    "RegionSecurityError",
    "RegionSpaceError",
    "RegionVersionError",
    "RegistryFullError",
    "ShmqError",
    "ShutDown",
]


class ShmqError(Exception):
    """Base of every exception that shmq defines: catch it to catch them all."""

    sent: int = 0  # how many messages a `send_many` had queued before it failed


class RegionExistsError(ShmqError, FileExistsError):
    """`Region.create` met a region of that name: attach to it, choose another name, or `shmq.unlink` it first."""


class RegionFileError(ShmqError, OSError):
    """A system call on the region's files failed for a reason that has no class of its own: `errno` tells which."""


class RegionNotFoundError(ShmqError, FileNotFoundError):
    """There is no region of that name: start its creator, give `Region.attach` a timeout, or use `shmq.open`."""


class RegionPermissionError(ShmqError, PermissionError):
    """This process may not open, or not write, the region: run as its owner, ask for a wider mode or more access."""


class RegionSecurityError(ShmqError, PermissionError):
    """What lies in the region's place cannot be trusted (foreign owner, loose mode, link, FIFO): remove it."""


class RegionSpaceError(ShmqError, MemoryError):
    """Shared memory or a limit is too small for the region: ask for a smaller one, or raise the limit named."""


class RegionVersionError(ShmqError):
    """The region was made by another version, or smaller than asked for: make both sides agree, or unlink it."""


class RegionGoneError(ShmqError):
    """The region's files were removed, cut or emptied by force, or it ended: look who does that, and open it anew."""


class RegionCorruptError(ShmqError):
    """A word in shared memory is out of bounds, and its message was dropped: look for a process that writes astray."""


class RegistryFullError(ShmqError):
    """Every process slot, queue, topic or subscriber's place is taken: close some, or create with a larger limit."""


class QueueInUseError(ShmqError):
    """Another has claimed the queue, or the process name: use another, or `shared=True` in every receiver."""


class QueueClosedError(ShmqError):
    """The queue was closed or deleted while this handle was open: make a new sender or receiver."""


class NoReceiver(ShmqError):
    """The addressed process is not attached, or has no inbox: wait until it is there, or check the name."""


class PeerDied(ShmqError):
    """The process that a message was for has left or died: send it again once another has taken its place."""


class OutOfBlocks(ShmqError, MemoryError):
    """No block of the size is free; the message names who holds them: release messages, or make the region larger."""


class ForkedHandleError(ShmqError):
    """A loan or message of the parent is used in a forked child: leave it to the parent, and get another."""


class DecodeError(ShmqError, ValueError):
    """A received object is malformed, too deep or too large: check who sends it and with which codec."""


class EncodeError(ShmqError, TypeError):
    """The codec cannot carry an object of this type: convert it, or choose another codec."""


MADE_ON_FIRST_USE = ("Full", "Empty", "ShutDown")

if TYPE_CHECKING:

    class Full(ShmqError, queue.Full): ...

    class Empty(ShmqError, queue.Empty): ...

    if sys.version_info >= (3, 13):

        class ShutDown(ShmqError, queue.ShutDown): ...

    else:

        class ShutDown(ShmqError): ...

else:

    def _derive_from_queue():
        try:
            import queue
        except OSError as error:  # no descriptor is left to read it
            limit = os.sysconf("SC_OPEN_MAX")
            text = (
                f"the module queue cannot be imported: {error.strerror}: the limit of this process is {limit} "
                "(RLIMIT_NOFILE); close some files, or raise it (ulimit -n)"
            )
            raise RegionFileError(error.errno, text, error.filename) from error

        class Full(ShmqError, queue.Full):
            """The queue is full and the call may not, or no longer, wait: receive faster, wait longer, or go deeper."""

        class Empty(ShmqError, queue.Empty):
            """The queue is empty and the call may not, or no longer, wait: try again, or give it a longer timeout."""

        shut_down_bases = (ShmqError, queue.ShutDown) if sys.version_info >= (3, 13) else (ShmqError,)

        class ShutDown(*shut_down_bases):
            """The queue is shut down: nothing more can be sent, and a receiver has had all that was queued."""

        for error in (Full, Empty, ShutDown):
            error.__qualname__ = error.__name__
            globals().setdefault(error.__name__, error)  # two threads may get here: the first one's classes stay

    def __getattr__(name):
        if name in MADE_ON_FIRST_USE:
            _derive_from_queue()
            return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
