# SPDX-License-Identifier: MIT
"""Messages between the processes of one machine, in place: no copy, no daemon, no system call."""

from . import errors as _errors
from ._loan import Loan
from ._publisher import Publisher
from ._receiver import Message, Receiver
from ._region import Region, list_regions, unlink
from ._region import open as open
from ._sender import Sender
from .errors import (
    DecodeError,
    EncodeError,
    ForkedHandleError,
    NoReceiver,
    OutOfBlocks,
    PeerDied,
    QueueClosedError,
    QueueInUseError,
    RegionCorruptError,
    RegionExistsError,
    RegionFileError,
    RegionGoneError,
    RegionNotFoundError,
    RegionPermissionError,
    RegionSecurityError,
    RegionSpaceError,
    RegionVersionError,
    RegistryFullError,
    ShmqError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .errors import Empty, Full, ShutDown
    from .info import ProcessInfo, RegionInfo

__version__ = "0.1.0"

# `open` is left out: `from shmq import *` must not hide the built-in.
__all__ = [
    "DecodeError",
    "Empty",
    "EncodeError",
    "ForkedHandleError",
    "Full",
    "Loan",
    "Message",
    "NoReceiver",
    "OutOfBlocks",
    "PeerDied",
    "ProcessInfo",
    "Publisher",
    "QueueClosedError",
    "QueueInUseError",
    "Receiver",
    "Region",
    "RegionCorruptError",
    "RegionExistsError",
    "RegionFileError",
    "RegionGoneError",
    "RegionInfo",
    "RegionNotFoundError",
    "RegionPermissionError",
    "RegionSecurityError",
    "RegionSpaceError",
    "RegionVersionError",
    "RegistryFullError",
    "Sender",
    "ShmqError",
    "ShutDown",
    "list_regions",
    "unlink",
]


def __getattr__(name: str) -> type:
    """What is loaded on first use, so that `import shmq` is light: three errors (see errors.py), and two records."""
    if name in _errors.MADE_ON_FIRST_USE:
        error: type = getattr(_errors, name)
        return error
    if name in ("ProcessInfo", "RegionInfo"):
        from . import info

        record: type = getattr(info, name)
        return record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
