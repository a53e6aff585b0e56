# SPDX-License-Identifier: MIT
"""Core dumps: a process that crashes takes no memory that nobody has asked for."""

from pathlib import Path

import pytest
from apart import forked
from helpers import drain, small

import shmq
from shmq import Region


def parts() -> list[tuple[int, bool]]:
    """Of the mappings of admin segments: where in the file each begins, and whether it is left out of core dumps."""
    found = []
    offset = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            name = line.partition("/")[2]
            offset = int(fields[2], 16) if name.endswith(("/admin", "-admin (deleted)")) else None
        elif fields[0] == "VmFlags:" and offset is not None:
            found.append((offset, "dd" in fields))
    return sorted(found)


@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_the_holes_of_a_region_are_left_out_of_core_dumps(kind: str) -> None:
    """To write a hole into a core dump is to fill it, with hundreds of times what a small region has reserved."""
    with small() if kind == "named" else shmq.open(None, "1MiB") as region:
        reserved, holes = parts()
        assert reserved == (0, False)
        assert holes[1]
        assert 0 < holes[0] < region.size  # there the slots of queues begin
        with Region.attach("r") if kind == "named" else Region.from_filenos(region.filenos()):
            assert parts() == [reserved] * 2 + [holes] * 2
        region.sender("q").send(b"x")
        assert forked(parts) == [reserved, holes]  # the copy that a child has
        assert drain(region.receiver("q")) == [b"x"]
