# SPDX-License-Identifier: MIT
"""What `Region.processes` and `list_regions` tell."""

from typing import NamedTuple


class ProcessInfo(NamedTuple):
    """An attached process and what it holds."""

    pid: int
    name: str
    slot: int
    loans: int
    held: int
    cached: int
    bytes: int
    queues: list[str]


class RegionInfo(NamedTuple):
    """A region that is there."""

    name: str
    size: int
    granule: int
    attached: int
    persist: bool
    creator_pid: int
    created: float
    max_processes: int
    max_queues: int
