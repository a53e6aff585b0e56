# SPDX-License-Identifier: MIT
import os
from collections.abc import Iterable
from typing import Any, Literal

from typing_extensions import Never, Self

from ._attachment import Attachment
from ._publisher import Publisher
from ._receiver import Receiver
from ._sender import Sender
from .info import ProcessInfo, RegionInfo

__test__: dict[str, Any]

_Access = Literal["both", "receive"]

def open(
    name: str | None,
    size: int | str | None = None,
    *,
    process: str | None = None,
    access: _Access = "both",
    persist: bool = False,
    granule: int | str | None = None,
    mode: int = 0o600,
    dir: str | os.PathLike[str] | None = None,
    prefault: bool = False,
    max_processes: int = 128,
    max_queues: int = 256,
    sole_writer: bool = False,
) -> Region: ...
def list_regions(dir: str | os.PathLike[str] | None = None) -> list[RegionInfo]: ...
def unlink(name: str, missing_ok: bool = False, *, dir: str | os.PathLike[str] | None = None) -> None: ...

class Region(Attachment):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    @classmethod
    def create(
        cls,
        name: str | None,
        size: int | str | None = None,
        *,
        process: str | None = None,
        access: _Access = "both",
        persist: bool = False,
        granule: int | str | None = None,
        mode: int = 0o600,
        dir: str | os.PathLike[str] | None = None,
        prefault: bool = False,
        max_processes: int = 128,
        max_queues: int = 256,
        sole_writer: bool = False,
    ) -> Self: ...
    @classmethod
    def attach(
        cls,
        name: str,
        *,
        timeout: float | None = 0,
        process: str | None = None,
        access: _Access = "both",
        mode: int = 0o600,
        dir: str | os.PathLike[str] | None = None,
    ) -> Self: ...
    @classmethod
    def from_filenos(
        cls,
        filenos: Iterable[int],
        *,
        process: str | None = None,
        access: _Access | None = None,
        prefault: bool = False,
    ) -> Self: ...
    def filenos(self, access: _Access | None = None) -> tuple[int, int, int]: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def access(self) -> _Access: ...
    @property
    def size(self) -> int: ...
    @property
    def granule(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def sender(self, queue: str, *, depth: int | None = None) -> Sender: ...
    def receiver(
        self,
        queue: str,
        *,
        depth: int = 1024,
        overflow: Literal["block", "drop_oldest", "drop_newest"] = "block",
        shared: bool = False,
        spin: float | None = None,
    ) -> Receiver: ...
    def publisher(self, topic: str) -> Publisher: ...
    def subscriber(
        self,
        topic: str,
        *,
        depth: int = 1024,
        overflow: Literal["block", "drop_oldest", "drop_newest"] = "block",
        spin: float | None = None,
    ) -> Receiver: ...
    @property
    def process(self) -> str: ...
    @property
    def inbox(self) -> Receiver: ...
    def peer(self, process: str) -> Sender: ...
    def delete_queue(self, name: str) -> None: ...
    def recover(self) -> int: ...
    def processes(self) -> list[ProcessInfo]: ...
    def stats(self) -> dict[str, Any]: ...
