# SPDX-License-Identifier: MIT
"""Too little memory, whichever limit it is: an error with the figures before any damage, never a signal.

Each scene is played in a forked child that dies of what it would die of: SIGBUS and SIGXFSZ are at their defaults.
"""

import errno
import gc
import mmap
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from apart import MS_BIND, SHM, Elsewhere, Fork, can_mount, descriptors, forked, limited, mount, own_shm, tree
from helpers import drain, talk

import shmq
from shmq import Region

PAGE = mmap.PAGESIZE
MIB = 1 << 20
SMALL: dict[str, Any] = {"max_processes": 4, "max_queues": 8}

Caught = tuple[str, str]


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


def caught(call: Callable[..., Any], *arguments: Any, **options: Any) -> Caught:
    """What kind of error a call gives, and its text."""
    try:
        call(*arguments, **options)
    except (shmq.ShmqError, ValueError) as error:
        return type(error).__name__, str(error)
    return "nothing", ""


def numbers(text: str) -> list[int]:
    """The exact figures of an error: bytes asked, bytes free."""
    return [int(number) for number in re.findall(r"(\d+) bytes", text)]


def free(folder: Path = SHM) -> int:
    """Bytes that the file system has left."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def fill(leave: int = 0, name: str = "filler") -> Path:
    """Take all of /dev/shm but `leave` bytes."""
    path = SHM / name
    with path.open("wb") as file:
        if free() > leave:
            os.posix_fallocate(file.fileno(), 0, free() - leave)
    assert free() == leave
    return path


def use_all(region: Region) -> int:
    """Write to every byte of the message memory; how many that were."""
    loans, size = [], region.size
    tx = region.sender("q")
    while True:
        try:
            loans.append(tx.loan(region.granule, timeout=0))
        except shmq.OutOfBlocks:
            break
        loans[-1].memoryview[:] = bytes([len(loans) % 251]) * region.granule
    for number, loan in enumerate(loans, 1):
        assert loan.memoryview[region.granule - 1] == number % 251
        loan.discard()
    assert len(loans) * region.granule == size
    return size


def hold(ready: int, done: int) -> list[bytes]:
    """Be attached and well until told to go."""
    with shmq.open("r", size=MIB, **SMALL) as region:
        os.write(ready, b"!")
        os.read(done, 1)
        return drain(region.receiver("to-the-holder"))


def die(ready: int, done: int) -> None:
    """Be attached until killed, with a message held."""
    region = shmq.open("r", size=MIB, **SMALL)
    region.sender("q").send(b"held")
    message = region.receiver("q", shared=True).receive_nowait()
    os.write(ready, b"!")
    os.read(done, 1)
    message.release()


class Other:
    """Another process that is attached."""

    def __init__(self, what: Callable[[int, int], Any]) -> None:
        self._ready, ours = os.pipe()
        theirs, self._done = os.pipe()
        self._fork = Fork(what, ours, theirs)
        os.close(ours)
        os.close(theirs)
        os.read(self._ready, 1)

    def kill(self) -> None:
        self._fork.kill()
        self._close()

    def result(self) -> Any:
        os.write(self._done, b"!")
        result = self._fork.result()
        self._close()
        return result

    def _close(self) -> None:
        os.close(self._ready)
        os.close(self._done)


# ---- a full file system -----------------------------------------------------------------------------------------


def open_in_2_mib() -> tuple[dict[str, Caught], list[str], int]:
    own_shm("size=2m")
    calls = {
        "open": lambda: shmq.open("r"),
        "create": lambda: Region.create("r"),
        "of 2 MiB": lambda: shmq.open("r", size="2MiB"),
    }
    return {what: caught(call) for what, call in calls.items()}, os.listdir(SHM), free()


@can_mount
def test_a_region_that_does_not_fit_is_refused_with_asked_free_and_remedy(run: Elsewhere) -> None:
    found, left, room = run(open_in_2_mib)
    for what, (kind, text) in found.items():
        assert kind == "RegionSpaceError", text
        asked, available = numbers(text)
        assert asked > (2 * MIB if what == "of 2 MiB" else 32 * MIB)
        assert available == 2 * MIB
        for part in ("region 'r' needs", "of 2 MiB are free", f"at {SHM}/shmq-{os.geteuid()}:", "--shm-size"):
            assert part in text
    assert left == []  # not even the directory of regions
    assert room == 2 * MIB


def open_with(nbytes: int) -> tuple[Caught, int, int, list[str]]:
    """In so many bytes: open, write to every byte, close. The error, what was free and what was written meanwhile."""
    own_shm(f"size={nbytes}")
    room = used = 0

    def work() -> None:
        nonlocal room, used
        with shmq.open("r", size=MIB, **SMALL) as region:
            room = free()
            with (SHM / f"shmq-{os.geteuid()}/r/data").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
                view[:] = b"x" * region.size  # as any process that is attached may
                used = len(view)

    return caught(work), room, used, os.listdir(SHM)


@can_mount
def test_to_the_page_it_fits_and_is_all_there_or_it_is_refused(run: Elsewhere) -> None:
    (kind, text), *_ = run(open_with, MIB)
    assert kind == "RegionSpaceError"
    asked, available = numbers(text)
    assert available == MIB
    assert asked % PAGE == 0
    for pages in (-3, -2, -1, 0, 1, 2):
        (kind, text), room, used, left = run(open_with, asked + pages * PAGE)
        assert left == []
        if pages < 0:
            assert kind == "RegionSpaceError"
            assert numbers(text) == [asked, asked + pages * PAGE]
        else:
            assert (kind, text) == ("nothing", "")
            assert room == pages * PAGE  # it took what it said
            assert used == MIB


def beside_another() -> tuple[Caught, bool, list[str], int]:
    own_shm("size=2m")
    with shmq.open("first", size=MIB, **SMALL) as region:
        before = talk(region)
        room = free()
        error = caught(shmq.open, "second", size=MIB, **SMALL)
        assert free() == room
        return error, before and talk(region), [info.name for info in shmq.list_regions()], use_all(region)


@can_mount
def test_a_region_that_is_there_is_undisturbed_by_one_that_does_not_fit(run: Elsewhere) -> None:
    (kind, text), good, names, used = run(beside_another)
    assert kind == "RegionSpaceError"
    assert "region 'second' needs" in text
    assert "shmq.list_regions" in text
    assert good
    assert names == ["first"]
    assert used == MIB


def in_a_full_file_system() -> dict[str, Any]:
    """A region is there, and not a byte more: what goes on, and what is refused."""
    own_shm("size=4m")
    found: dict[str, Any] = {}
    with shmq.open("r", size=MIB, persist=True, **SMALL) as region:
        found["before"] = talk(region)
        other = Other(hold)
        region.sender("to-the-holder")
        filler = fill()
        before = tree(SHM)
        found["goes on"] = talk(region)
        found["attach"] = forked(lambda: caught(lambda: Region.attach("r").inbox))
        found["open"] = forked(lambda: caught(lambda: shmq.open("r").inbox))
        found["without an inbox"] = forked(lambda: talk(Region.attach("r")))
        found["create"] = caught(shmq.open, "s", size=MIB, **SMALL)
        found["sender"] = caught(region.sender, "new", depth=2000)
        found["receiver"] = caught(region.receiver, "new")
        found["subscriber"] = caught(region.subscriber, "t", depth=2000)
        region.sender("to-the-holder").send(b"hello")
        found["other"] = other.result()
        found["in its place"] = forked(lambda: talk(Region.attach("r")))  # whose inbox has its memory
        found["in a child"] = forked(lambda: caught(shmq.open("r").receiver, "new"))
        found["count"] = len(region.stats()["queues"])
        found["list"] = [info.name for info in shmq.list_regions()]
        found["recover"] = region.recover()
        found["untouched"] = tree(SHM) == before
        filler.unlink()
        found["then"] = talk(region, "new")
        filler = fill()
        found["all"] = use_all(region)
    found["closed"] = sorted(os.listdir(SHM))
    shmq.unlink("r")
    filler.unlink()
    found["left"] = os.listdir(SHM)
    return found


@can_mount
def test_in_a_full_file_system_all_goes_on_but_nothing_new_is_made(run: Elsewhere) -> None:
    found = run(in_a_full_file_system)
    assert found["before"]
    assert found["goes on"]
    assert found["other"] == [b"hello"]
    assert found["in its place"]
    assert found["without an inbox"]
    for who in ("attach", "open"):  # each attaches, but has no inbox
        kind, text = found[who]
        assert kind == "RegionSpaceError"
        assert "the inbox of this process in region 'r' needs" in text
        assert numbers(text) == [1024 * 8, 0]
        assert "--shm-size" in text
    kind, text = found["create"]
    assert kind == "RegionSpaceError"
    assert "only 0 bytes of 4 MiB are free" in text
    for who, what, slots, depth in (
        ("sender", "queue 'new'", 2048, 2000),
        ("receiver", "queue 'new'", 1024, 1024),
        ("in a child", "queue 'new'", 1024, 1024),
        ("subscriber", "a queue for topic 't'", 2048, 2000),
    ):
        kind, text = found[who]
        assert kind == "RegionSpaceError"
        assert text.startswith(f"{what} of depth {depth} in region 'r' needs")
        assert numbers(text) == [slots * 8, 0]
        for part in ("4 MiB", f"{SHM}/shmq-{os.geteuid()}/r/admin", "shmq.list_regions", "--shm-size"):
            assert part in text
    assert found["count"] == 2  # a queue that found no place is none
    assert found["list"] == ["r"]
    assert found["recover"] == 0
    assert found["untouched"]
    assert found["then"]
    assert found["all"] == MIB
    assert found["closed"] == ["filler", f"shmq-{os.geteuid()}"]
    assert found["left"] == []


def make_queues(leave: int) -> tuple[list[Caught], int, bool]:
    """Make queues of a page of slots each while there is room for them."""
    own_shm("size=4m")
    with shmq.open("r", size=MIB, max_processes=4, max_queues=64) as region:
        region.sender("q")
        fill(leave)
        errors = [caught(region.sender, f"queue-{number}", depth=PAGE // 8) for number in range(6)]
        return errors, len(region.stats()["queues"]), talk(region)


@can_mount
@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_queues_are_made_to_the_last_page(run: Elsewhere, pages: int) -> None:
    errors, count, good = run(make_queues, pages * PAGE)
    assert [kind for kind, _ in errors] == ["nothing"] * pages + ["RegionSpaceError"] * (6 - pages)
    assert all(numbers(text) == [PAGE, 0] for _, text in errors[pages:])
    assert count == 1 + pages
    assert good


def many_at_once() -> tuple[list[Caught], list[str]]:
    """Six open regions of which four fit: some lose, none is damaged."""
    own_shm("size=6m")

    def one(number: int) -> Caught:
        def work() -> None:
            with shmq.open(f"r{number}", size=MIB, **SMALL) as region:
                assert talk(region)
                assert use_all(region) == MIB

        return caught(work)

    children = [Fork(one, number) for number in range(8)]
    return [child.result() for child in children], os.listdir(SHM)


@can_mount
def test_of_many_that_open_at_once_some_may_be_refused_and_none_is_hurt(run: Elsewhere) -> None:
    found, left = run(many_at_once)
    assert {kind for kind, _ in found} <= {"nothing", "RegionSpaceError"}
    assert "nothing" in {kind for kind, _ in found}
    assert left == []


# ---- a file system that is none for this ------------------------------------------------------------------------


def mount_overlay() -> Path:
    """A fresh overlayfs, as a container's own file system is one. Where the regions are to go in it."""
    own_shm()
    layers = [SHM / name for name in ("lower", "upper", "work")]
    merged = SHM / "merged"
    for folder in (*layers, merged):
        folder.mkdir()
    options = ",".join(f"{path.name}dir={path}" for path in layers) + (",userxattr" if os.geteuid() else "")
    mount("overlay", merged, "overlay", 0, options)
    (merged / "regions").mkdir(0o700)
    return merged / "regions"


def can_overlay() -> bool:
    """Does the kernel let this process mount one?"""
    try:
        return forked(lambda: bool(mount_overlay()))
    except AssertionError:
        return False


def open_on_overlayfs() -> tuple[bool, Caught, list[str], list[Any]]:
    if not forked(can_overlay):
        return False, ("", ""), [], []
    place = mount_overlay()
    error = caught(lambda: shmq.open("r", size=MIB, dir=place, **SMALL).close())
    return True, error, os.listdir(place), shmq.list_regions(dir=place)


@can_mount
def test_where_a_mapping_does_not_keep_a_lock_no_region_is_made(run: Elsewhere) -> None:
    """There nobody could tell who is alive: a region in use would be taken for one that all have left."""
    possible, (kind, text), left, regions = run(open_on_overlayfs)
    if not possible:
        pytest.skip("the kernel lets this user mount no overlayfs")
    assert kind == "RegionFileError"
    for part in (
        "file system of this directory",
        "overlayfs",
        "who is alive",
        "/dev/shm",
        "SHMQ_DIR",
        "merged/regions",
    ):
        assert part in text
    assert left == []
    assert regions == []


# ---- inodes -----------------------------------------------------------------------------------------------------


def open_with_inodes(count: int) -> tuple[Caught, list[str], bool]:
    own_shm(f"size=8m,nr_inodes={count + 1}")  # one is the mount's own directory
    error = caught(lambda: shmq.open("r", size=MIB, persist=True, **SMALL).close())
    made = os.listdir(SHM)
    again = caught(lambda: shmq.open("r", size=MIB, persist=True, **SMALL).close())
    return error, made, again == error


@can_mount
@pytest.mark.parametrize("count", range(7))
def test_too_few_inodes_are_refused_with_their_number(run: Elsewhere, count: int) -> None:
    """A region is a directory and three files, and lies in a directory."""
    (kind, text), made, same = run(open_with_inodes, count)
    assert same
    if count >= 5:
        assert kind == "nothing"
        assert made == [f"shmq-{os.geteuid()}"]
        return
    assert kind == "RegionSpaceError"
    assert made == []
    found = re.search(r"needs (\d+) files and directories \(inodes\), but only (\d+) of (\d+) are free", text)
    assert found, text
    asked, available, total = map(int, found.groups())
    assert (asked, total) == (4, count + 1)
    assert available == max(0, count - 1)  # beside the directory of regions
    assert f"{SHM}/shmq-{os.geteuid()}" in text
    assert "nr_inodes" in text


# ---- RLIMIT_FSIZE -----------------------------------------------------------------------------------------------


def under_a_file_limit(limit: int) -> tuple[Caught, Caught, list[str]]:
    """Create, then (made without the limit) attach and make a queue."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; another program of the user's may not
    folder = Path(os.environ["SHMQ_DIR"])
    with limited(resource.RLIMIT_FSIZE, limit):
        create = caught(lambda: shmq.open("r", size=MIB, **SMALL).close())
    left = os.listdir(folder)
    with shmq.open("r", size=MIB, **SMALL) as region, limited(resource.RLIMIT_FSIZE, limit):
        use = caught(lambda: [talk(region), talk(shmq.open("r"), "other"), use_all(region)])
    return create, use, left


def file_sizes() -> dict[str, int]:
    with shmq.open("r", size=MIB, **SMALL):
        return {path.name: path.stat().st_size for path in (Path(os.environ["SHMQ_DIR"]) / "r").iterdir()}


def test_a_file_beyond_the_limit_is_refused_before_the_kernel_would_send_sigxfsz(run: Elsewhere) -> None:
    largest = max(run(file_sizes).values())
    for limit in (0, 1, PAGE, MIB - 1, MIB, largest - 1):
        (kind, text), use, left = run(under_a_file_limit, limit)
        assert kind == "RegionSpaceError"
        assert left == []
        assert f"needs a file of {largest / MIB:.4g} MiB ({largest} bytes)" in text
        assert f"the limit on a file's size is {limit} bytes (RLIMIT_FSIZE)" in text
        for part in ("ulimit -f", "max_queues"):
            assert part in text
        assert use == ("nothing", "")  # nobody's file grows once the region is there
    create, use, left = run(under_a_file_limit, largest)
    assert (create, use, left) == (("nothing", ""), ("nothing", ""), [])


# ---- RLIMIT_AS --------------------------------------------------------------------------------------------------


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * PAGE


def under_an_address_limit(room: int) -> dict[str, Any]:
    folder = Path(os.environ["SHMQ_DIR"])
    found: dict[str, Any] = {}
    gc.collect()
    limit = address_space() + room
    with limited(resource.RLIMIT_AS, limit):
        found["create"] = caught(lambda: shmq.open("r", size="64MiB", **SMALL).close())
    found["left"] = os.listdir(folder)
    found["limit"] = limit
    holder_end, ours = os.pipe()

    def hold() -> bool:
        with shmq.open("r", size="64MiB", **SMALL) as region:
            os.write(ours, b"!")
            return bytes(region.receiver("q").receive(timeout=20)) == b"done"

    holder = Fork(hold)
    os.read(holder_end, 1)
    limit = address_space() + room
    with limited(resource.RLIMIT_AS, limit):
        found["attach"] = caught(lambda: Region.attach("r").close())
        found["list"] = [info.attached for info in shmq.list_regions()]
    with Region.attach("r") as region:
        region.sender("q").send(b"done")
    found["holder"] = holder.result()
    return found


def test_too_little_address_space_is_refused_with_usage_and_limit(run: Elsewhere) -> None:
    for room in (MIB, 32 * MIB, 63 * MIB):
        found = run(under_an_address_limit, room)
        for what in ("create", "attach"):
            kind, text = found[what]
            assert kind == "RegionSpaceError", text
            asked, limit, usage = numbers(text)
            assert asked > 64 * MIB
            assert limit - room - 2 * MIB < usage < limit
            for part in ("region 'r' needs", "of address space", "(RLIMIT_AS)", "ulimit -v", "max_queues"):
                assert part in text
        assert f"its limit is {found['limit']} bytes" in found["create"][1]
        assert found["left"] == []
        assert found["list"] == [1]
        assert found["holder"]
    found = run(under_an_address_limit, 512 * MIB)
    assert found["create"] == found["attach"] == ("nothing", "")


# ---- RLIMIT_NOFILE ----------------------------------------------------------------------------------------------


@contextmanager
def spare(count: int) -> Iterator[int]:
    """Leave this process `count` descriptors, and say what its limit is."""
    limit = 10 + max(int(name) for name in os.listdir("/proc/self/fd")) + count
    taken = []
    with limited(resource.RLIMIT_NOFILE, limit):
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield limit
        for descriptor in taken:
            os.close(descriptor)


def open_and_close() -> None:
    shmq.open("r", size=MIB, **SMALL).close()


def attach_and_close() -> None:
    Region.attach("r").close()


def attached_now() -> None:
    assert [info.attached for info in shmq.list_regions()] == [1]


def with_few_descriptors(call: Callable[[], None], other: bool, count: int) -> dict[str, Any]:
    """Call with `count` descriptors left, while another process is attached or not."""
    holder = Other(hold) if other else None
    folder = Path(os.environ["SHMQ_DIR"])
    before, files = descriptors(), tree(folder)
    with spare(count) as limit:
        found = {"error": caught(call), "limit": limit}
    found["leaked"] = sorted(set(descriptors()) ^ set(before))
    found["untouched"] = tree(folder) == files
    if holder:
        with Region.attach("r") as region:
            found["attached"] = len(region.processes())
            region.sender("to-the-holder").send(b"hello")
        found["holder"] = holder.result()
    found["left"] = os.listdir(folder)
    return found


@pytest.mark.parametrize(
    ("call", "other"),
    [(open_and_close, False), (open_and_close, True), (attach_and_close, True), (attached_now, True)],
)
def test_too_few_descriptors_are_an_error_with_the_limit_and_nothing_is_leaked_or_half_made(
    run: Elsewhere, call: Callable[[], None], other: bool
) -> None:
    failed = 0
    for count in range(20):
        found = run(with_few_descriptors, call, other, count)
        assert found["leaked"] == []
        assert found["untouched"]
        assert found["left"] == []
        if other:
            assert found["attached"] == 2
            assert found["holder"] == [b"hello"]
        kind, text = found["error"]
        if kind == "nothing":
            break
        failed += 1
        assert kind == "RegionFileError"
        for part in ("[Errno 24]", f"the limit of this process is {found['limit']} (RLIMIT_NOFILE)", "ulimit -n"):
            assert part in text
    assert 1 < failed < 19


def receive(receiver: shmq.Receiver, timeout: float) -> bytes:
    try:
        return bytes(receiver.receive(timeout))
    except shmq.Empty:
        return b"nothing"


def fail_with_a_dead_process(count: int) -> dict[str, Any]:
    """A process has died with a message; another lives. What is known of them without descriptors, and then with."""
    assert shmq.Empty  # its first use imports a module
    found: dict[str, Any] = {}
    living = Other(hold)
    with shmq.open("r") as region:
        receiver = region.receiver("q", shared=True)
        assert len(region.processes()) == 2
        dead = Other(die)
        dead.kill()
        with spare(count) as limit:
            found["limit"] = limit
            found["recover"] = caught(region.recover)
            found["processes"] = len(region.processes())
            found["early"] = receive(receiver, 0.2)
        found["then"] = region.recover()
        found["late"] = receive(receiver, 0)
        found["left"] = len(region.processes())
        region.sender("to-the-holder").send(b"hello")
    found["living"] = living.result()
    return found


def test_without_a_descriptor_to_look_at_the_locks_nobody_is_declared_dead(run: Elsewhere) -> None:
    found = run(fail_with_a_dead_process, 0)
    kind, text = found["recover"]
    assert kind == "RegionFileError"
    assert f"the limit of this process is {found['limit']} (RLIMIT_NOFILE)" in text
    assert found["processes"] == 3
    assert found["early"] == b"nothing"
    assert found["then"] == 1
    assert found["late"] == b"held"
    assert found["left"] == 2
    assert found["living"] == [b"hello"]
    found = run(fail_with_a_dead_process, 1)  # all that it takes
    assert found["recover"] == ("nothing", "")
    assert found["early"] == b"held"


def close_without_descriptors(other: bool) -> tuple[list[str], list[str], Any]:
    folder = Path(os.environ["SHMQ_DIR"])
    region = shmq.open("r", size=MIB, **SMALL)
    holder = Other(hold) if other else None
    with spare(0):
        region.sender("q")  # needs none either
        region.close()
    left = os.listdir(folder)
    result = holder.result() if holder else None
    return left, os.listdir(folder), result


def test_a_close_without_descriptors_leaves_nothing_behind(run: Elsewhere) -> None:
    assert run(close_without_descriptors, False) == ([], [], None)
    assert run(close_without_descriptors, True) == (["r"], [], [])


def list_and_unlink(count: int) -> tuple[Caught, Caught, list[str]]:
    folder = Path(os.environ["SHMQ_DIR"])
    for name in ("a", "b"):
        shmq.open(name, size=MIB, persist=True, **SMALL).close()
    with spare(count):
        found = caught(shmq.list_regions), caught(shmq.unlink, "a"), sorted(os.listdir(folder)) if count else []
    for name in ("a", "b"):
        shmq.unlink(name, missing_ok=True)
    return found


def test_what_could_not_be_looked_at_is_not_left_out_of_a_list_in_silence(run: Elsewhere) -> None:
    kinds = [run(list_and_unlink, count)[0][0] for count in range(10)]
    first = kinds.index("nothing")
    assert first > 3
    assert set(kinds[:first]) == {"RegionFileError"}
    assert set(kinds[first:]) == {"nothing"}
    for count in range(10):
        _, (kind, text), left = run(list_and_unlink, count)
        assert kind == "nothing" or (kind == "RegionFileError" and "RLIMIT_NOFILE" in text)
        if count:
            assert left == (["b"] if kind == "nothing" else ["a", "b"])


FIRST_OPEN = """
import os, resource, shmq
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 64))
try:
    shmq.open("r")
except shmq.RegionFileError as error:
    print(error.errno, "RLIMIT_NOFILE" in str(error) or "ulimit -n" in str(error))
"""


def test_the_first_open_of_a_process_without_descriptors_says_so_too(python: Callable[..., str]) -> None:
    """Though not even the module with the texts can be imported."""
    assert python("-c", FIRST_OPEN).split() == [str(errno.EMFILE), "True"]


# ---- a memory control group ---------------------------------------------------------------------------------------


def in_groups(version: int, limits: dict[str, tuple[str, int, int]], size: int) -> tuple[Caught, list[str]]:
    """Under control groups written by hand, by path: limit, usage, page cache. The kernel is not asked."""
    own_shm()
    root = Path("/sys/fs/cgroup")
    mount("tmpfs", root, "tmpfs")
    if version == 1:
        root /= "memory"
        root.mkdir()
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    prefix = "" if version == 2 else "total_"
    for path, (limit, usage, cache) in limits.items():
        group = root / path
        group.mkdir(parents=True, exist_ok=True)
        (group / names[0]).write_text(f"{limit}\n")
        (group / names[1]).write_text(f"{usage}\n")
        (group / "memory.stat").write_text(
            f"anon 5\ninactive_file 7\n{prefix}inactive_file {cache // 4}\n{prefix}active_file {cache - cache // 4}\n"
            if version == 1
            else f"anon 5\ninactive_file {cache // 4}\nactive_file {cache - cache // 4}\n"
        )
    mine = SHM / "cgroup"
    lines = "12:pids:/x\n4:cpu,memory:/app/web\n1:name=systemd:/y\n0::/other\n"
    mine.write_text(lines if version == 1 else "3:memoryless:/no\n0::/app/web\n")
    mount(str(mine), Path("/proc/self/cgroup"), None, MS_BIND)
    mine.unlink()
    return caught(lambda: shmq.open("r", size=size).close()), os.listdir(SHM)


@can_mount
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tight", ["app/web", "app", "."])
def test_a_control_group_that_leaves_too_little_is_compared_before_the_kernel_would_kill(
    run: Elsewhere, version: int, tight: str
) -> None:
    """Its own, or any above it; page cache does not count, the kernel gives that back."""
    none = "max" if version == 2 else str((1 << 63) - 4096)
    limits = dict.fromkeys((".", "app", "app/web", "other"), (none, 50 * MIB, 0))
    limits[tight] = (str(100 * MIB), 80 * MIB, 10 * MIB)
    (kind, text), left = run(in_groups, version, limits, 30 * MIB)
    assert kind == "RegionSpaceError"
    asked, limit, available = numbers(text)
    assert 30 * MIB < asked < 40 * MIB
    assert (limit, available) == (100 * MIB, 30 * MIB)
    group = Path("/sys/fs/cgroup", *(["memory"] if version == 1 else []), tight)
    for part in (f"the memory control group {group} allows", f"has {70 * MIB} in use", "raise its limit", "--memory"):
        assert part in text
    assert left == []
    limits[tight] = (str(100 * MIB), 80 * MIB, 20 * MIB)
    assert run(in_groups, version, limits, 30 * MIB)[0] == ("nothing", "")


def make_a_queue_in_a_group() -> tuple[Caught, bool, int]:
    """The group is used up after the region was made."""
    own_shm()
    root = Path("/sys/fs/cgroup")
    mount("tmpfs", root, "tmpfs")
    mine = SHM / "cgroup"
    mine.write_text("0::/\n")
    mount(str(mine), Path("/proc/self/cgroup"), None, MS_BIND)
    with shmq.open("r", size=MIB, **SMALL) as region:
        good = talk(region)
        (root / "memory.max").write_text(f"{64 * MIB}\n")
        (root / "memory.current").write_text(f"{64 * MIB - 100_000}\n")
        error = caught(region.receiver, "new", depth=65536)
        good = good and talk(region)
        (root / "memory.max").write_text("max\n")
        return error, good and talk(region, "new"), len(region.stats()["queues"])


@can_mount
def test_a_queue_that_would_exceed_the_control_group_is_refused_and_nothing_else_is(run: Elsewhere) -> None:
    (kind, text), good, count = run(make_a_queue_in_a_group)
    assert kind == "RegionSpaceError"
    asked, limit, available = numbers(text)
    assert asked > 65536 * 8
    assert (limit, available) == (64 * MIB, 100_000)
    for part in (
        "queue 'new' of depth 65536 in region 'r' needs",
        "/sys/fs/cgroup allows",
        f"{64 * MIB - 100_000} in use",
    ):
        assert part in text
    assert good
    assert count == 2


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory control group below this process's own, limited to 96 MiB; made by the kernel, not by hand."""
    path = own_group()
    if path is None:
        pytest.skip("needs a memory control group in which one may be made")
    yield path
    path.rmdir()


def own_group() -> Path | None:
    """Make it; None where this system, or this user's rights, do not allow that."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        first = "memory" in controllers.split(",")
        if not first and controllers:
            continue
        path = Path("/sys/fs/cgroup", *(["memory"] if first else []), name.lstrip("/"), f"shmq-test-{os.getpid()}")
        limit = path / ("memory.limit_in_bytes" if first else "memory.max")
        try:
            path.mkdir()
        except OSError:
            continue
        try:
            limit.write_text(str(96 * MIB))
        except OSError:
            path.rmdir()
            continue
        return path
    return None


def in_a_real_group(path: Path) -> dict[str, Any]:
    """What fits is used to the last byte; what does not is refused, and who asked lives to tell."""
    (path / "cgroup.procs").write_text(str(os.getpid()))
    found: dict[str, Any] = {"too large": caught(shmq.open, "large", size="128MiB")}
    room = numbers(found["too large"][1])[-1]
    size = room * 3 // 5 // MIB * MIB
    with shmq.open("r", size=size) as region:
        found["second"] = caught(shmq.open, "second", size=size)
        found["goes on"] = talk(region)
    low, high = MIB, room
    while high - low > MIB // 8:  # up to the largest that is let in: none gets its maker killed
        size = (low + high) // 2 // PAGE * PAGE
        low, high = (size, high) if caught(open_and_touch, size)[0] == "nothing" else (low, size)
    found["largest"] = low / room
    return found


def open_and_touch(size: int) -> None:
    """Open a region and write to each page of its message memory."""
    with (
        shmq.open("r", size=size),
        Path(os.environ["SHMQ_DIR"], "r", "data").open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as view,
    ):
        for at in range(0, size, PAGE):
            view[at] = 1


def test_a_control_group_of_the_kernels_kills_nobody(run: Elsewhere, group: Path) -> None:
    found = run(in_a_real_group, group)
    kind, text = found["too large"]
    assert kind == "RegionSpaceError"
    assert f"the memory control group {group} allows {96 * MIB} bytes" in text
    kind, text = found["second"]
    assert kind == "RegionSpaceError"
    assert f"{group} allows {96 * MIB} bytes" in text
    assert found["goes on"]
    assert 0.6 < found["largest"] < 1
