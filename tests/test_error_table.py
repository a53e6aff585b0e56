# SPDX-License-Identifier: MIT
"""The rows of docs/errors.md about regions; those about queues and messages are in test_error_table_use.py.

Each bad situation is brought about, by real processes where the row speaks of others. The error's class is exact, its
text states the fact, the value, the limit and the remedy, the remedy is tried where it can be, and nothing is lost or
left behind by the call that failed. What has no row of its own is read in test_error_texts.py.

Not there yet: DecodeError and EncodeError (no codec), PeerDied of a call's server (no calls).
"""

import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart import (
    MEMBER,
    NOBODY,
    OUTSIDER,
    OWNER,
    SHM,
    TEAM,
    Elsewhere,
    can_mount,
    forbid,
    limited,
    own_shm,
    tree,
)
from helpers import Partner, Thread, as_root, drain, small, talk
from telling import (
    ME,
    MIB,
    PAGE,
    QUEUES,
    SMALL,
    harmless,
    poke,
    punch,
    refused,
    stay,
    tells,
    unlink_as_told,
    words,
    works,
)
from test_space import in_groups, numbers

import shmq
from shmq import Region, ShmqError


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process, as another user where that is asked for."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


@pytest.fixture
def resting(shmq_dir: Path) -> Iterator[Path]:
    """The directory of a region that nobody is attached to."""
    small(persist=True, **SMALL).close()
    yield shmq_dir / "r"
    shmq.unlink("r", missing_ok=True)


# ---- tmpfs too small -------------------------------------------------------------------------------------------


def in_a_small_file_system() -> tuple[Exception, bool]:
    own_shm("size=2m")
    with harmless(folder=SHM):
        error = refused(shmq.open, "r")
    return error, works()


@can_mount
def test_a_file_system_that_is_too_small(run: Elsewhere) -> None:
    error, smaller_works = run(in_a_small_file_system)
    text = tells(
        error,
        shmq.RegionSpaceError,
        MemoryError,
        fact="region 'r' needs",
        value="but only 2 MiB (2097152 bytes)",
        limit=f"of 2 MiB are free at {SHM}/shmq-{ME}",
        remedy=("ask for less", "shmq.list_regions", "Docker: --shm-size"),
    )
    assert numbers(text)[0] > 32 * MIB
    assert smaller_works


# ---- a memory control group's limit, RLIMIT_FSIZE --------------------------------------------------------------


@can_mount
@pytest.mark.parametrize("version", [1, 2])
def test_a_memory_control_group_that_leaves_too_little(run: Elsewhere, version: int) -> None:
    limits = {".": (str(64 * MIB), 60 * MIB, 0)}
    (kind, text), left = run(in_groups, version, limits, 8 * MIB)
    tells(
        getattr(shmq, kind)(text),
        shmq.RegionSpaceError,
        MemoryError,
        fact="region 'r' needs",
        value=f"has {60 * MIB} in use, which leaves 4 MiB ({4 * MIB} bytes)",
        limit=("the memory control group /sys/fs/cgroup", f"allows {64 * MIB} bytes"),
        remedy=("ask for less", "raise its limit (Docker: --memory)"),
    )
    assert numbers(text)[0] > 8 * MIB
    assert left == []
    assert run(in_groups, version, limits, 1 * MIB) == (("nothing", ""), [])
    assert run(in_groups, version, {".": (str(128 * MIB), 60 * MIB, 0)}, 8 * MIB) == (("nothing", ""), [])


def under_a_limit_on_files() -> tuple[Exception, bool, bool]:
    with limited(resource.RLIMIT_FSIZE, 8 * MIB):
        with harmless():
            error = refused(shmq.open, "r", **{**SMALL, "size": 16 * MIB})
        smaller = works()
    with limited(resource.RLIMIT_FSIZE, 16 * MIB):
        return error, smaller, works(size=16 * MIB)


def test_a_limit_on_the_size_of_files(run: Elsewhere) -> None:
    error, smaller_works, raised_works = run(under_a_limit_on_files)
    tells(
        error,
        shmq.RegionSpaceError,
        MemoryError,
        fact="region 'r' needs a file of",
        value=f"16 MiB ({16 * MIB} bytes)",
        limit=f"the limit on a file's size is {8 * MIB} bytes (RLIMIT_FSIZE)",
        remedy=("ulimit -f", "smaller size"),
    )
    assert smaller_works
    assert raised_works


# ---- a name that is taken, or not there ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["default", "dir"])
def test_a_name_that_is_taken(shmq_dir: Path, where: str) -> None:
    folder = shmq_dir if where == "default" else shmq_dir / "of my own"
    options: dict[str, Any] = {} if where == "default" else {"dir": folder}
    with small(**options) as region:
        with harmless(region):
            error = refused(Region.create, "r", **options)
        text = tells(
            error,
            shmq.RegionExistsError,
            FileExistsError,
            fact="region 'r' exists",
            value=f"at {folder}/r",
            limit=(f"made by pid {os.getpid()}", f"owner uid {ME}"),
            remedy=("Region.attach", "shmq.open", "another name", "shmq.unlink('r'"),
        )
        Region.attach("r", **options).close()
        shmq.open("r", **options).close()
        Region.create("s", size=MIB, **options).close()
        unlink_as_told(text)
        Region.create("r", size=MIB, **options).close()
        assert talk(region)
    if where == "dir":
        folder.rmdir()


def test_a_name_that_is_not_there(shmq_dir: Path) -> None:
    for call in (Region.attach, lambda name: Region.attach(name, timeout=0.01)):
        with harmless():
            error = refused(call, "r")
        tells(
            error,
            shmq.RegionNotFoundError,
            FileNotFoundError,
            fact="there is no region",
            value="'r'",
            limit=f"at {shmq_dir}/r",
            remedy=("start the process that creates it", "a longer timeout", "shmq.open"),
        )
    attaching = Thread(lambda: Region.attach("r", timeout=20))
    with shmq.open("r", size=MIB), attaching.result() as region:
        assert talk(region)


def test_a_name_to_unlink_that_is_not_there(shmq_dir: Path) -> None:
    with harmless():
        error = refused(shmq.unlink, "r")
    tells(
        error,
        shmq.RegionNotFoundError,
        FileNotFoundError,
        fact="there is no region",
        value="'r'",
        limit=f"at {shmq_dir}/r to unlink",
        remedy=("shmq.list_regions", "missing_ok=True"),
    )
    assert shmq.list_regions() == []
    shmq.unlink("r", missing_ok=True)


# ---- squatted, foreign, loose mode, symlink, FIFO --------------------------------------------------------------


def loosen(place: Path) -> tuple[Path, str, str, str]:
    (place / "admin").chmod(0o640)
    return place / "admin", "mode", "found 0o640, expected 0o600", "set the mode (chmod 600)"


def squat_by_link(place: Path) -> tuple[Path, str, str, str]:
    place.rename(place.parent / ".elsewhere")
    place.symlink_to(".elsewhere")
    return place, "file type", "found a symbolic link, expected a directory", "look who put it there and remove it"


def squat_by_fifo(place: Path) -> tuple[Path, str, str, str]:
    (place / "lock").unlink()
    os.mkfifo(place / "lock", 0o600)
    return place / "lock", "file type", "found a FIFO, expected a plain file", "look who put it there and remove it"


def squat_as_a_stranger(place: Path) -> tuple[Path, str, str, str]:
    os.chown(place / "data", NOBODY, NOBODY)
    return place / "data", "owner", f"found {NOBODY}, expected {ME}", "look who put it there and remove it"


@pytest.mark.parametrize(
    "spoil", [loosen, squat_by_link, squat_by_fifo, pytest.param(squat_as_a_stranger, marks=as_root)]
)
def test_something_in_its_place_that_is_not_trusted(resting: Path, spoil: Callable[[Path], Any]) -> None:
    path, check, values, remedy = spoil(resting)
    for call in (shmq.open, Region.attach):
        with harmless():
            error = refused(call, "r")
        text = tells(
            error,
            shmq.RegionSecurityError,
            PermissionError,
            fact=(f"{path}: {check}:", f"it was not made by shmq for uid {ME}"),
            value=(values.split(", ")[0], "mode 0o"),
            limit=values.split(", ")[1],
            remedy=(remedy, "another directory (SHMQ_DIR, dir=)"),
        )
    if how := re.search(r"chmod (\d+)", text):
        path.chmod(int(how.group(1), 8))
        assert works()  # the region that was there
        assert shmq.list_regions()[0].attached == 0
        return
    if path.is_symlink():
        path.unlink()
        shutil.rmtree(resting.parent / ".elsewhere")
    else:
        shmq.unlink("r")
    assert works()  # a new one
    assert shmq.list_regions() == []


# ---- no permission ---------------------------------------------------------------------------------------------


def refuse_to_attach(folder: str, mode: int) -> Exception:
    return refused(Region.attach, "r", dir=folder, mode=mode)


def attach_and_talk(folder: str, mode: int) -> bool:
    with Region.attach("r", dir=folder, mode=mode) as region:
        return talk(region)


def make_to_keep(folder: str, mode: int) -> None:
    small(persist=True, dir=folder, mode=mode).close()


@as_root
def test_a_directory_of_a_group_that_one_is_not_in(shmq_dir: Path, run: Elsewhere) -> None:
    shmq_dir.chmod(0o711)
    folder = shmq_dir / "team"
    folder.mkdir()
    os.chown(folder, OWNER, TEAM)
    folder.chmod(0o2770)
    run(make_to_keep, str(folder), 0o660, user=MEMBER, groups=(TEAM,))
    before = tree(shmq_dir)
    tells(
        run(refuse_to_attach, str(folder), 0o660, user=OUTSIDER),
        shmq.RegionPermissionError,
        PermissionError,
        fact=f"{folder}: permission denied (open)",
        value=f"you are uid {OUTSIDER}, gid {OUTSIDER}",
        limit=f"it belongs to uid {OWNER}, gid {TEAM}, mode 0o2770",
        remedy="run as the owner, or be in its group (and say mode=0o660 with dir=, in every process)",
    )
    assert tree(shmq_dir) == before
    assert run(attach_and_talk, str(folder), 0o660, user=OUTSIDER, groups=(TEAM,))
    shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize(("file", "mode", "rights"), [("admin", 0o400, "rw"), ("data", 0o400, "rw"), ("", 0o600, "x")])
def test_a_file_that_its_owner_may_not_open(shmq_dir: Path, run: Elsewhere, file: str, mode: int, rights: str) -> None:
    shmq_dir.chmod(0o711)
    folder = shmq_dir / "owned"
    folder.mkdir(0o700)
    os.chown(folder, OWNER, OWNER)
    run(make_to_keep, str(folder), 0o600, user=OWNER)
    path = folder / "r" / file
    path.chmod(mode)
    tells(
        run(refuse_to_attach, str(folder), 0o600, user=OWNER),
        shmq.RegionPermissionError,
        PermissionError,
        fact=f"{path if file else path / 'admin'}: permission denied (open)",
        value=f"you are uid {OWNER}, gid {OWNER}",
        limit=f"mode {mode:#o}" if file else "keeps you out",
        remedy=f"it is yours: give yourself the right (chmod u+{rights})" if file else "run as the owner",
    )
    path.chmod(0o600 if file else 0o700)
    assert run(attach_and_talk, str(folder), 0o600, user=OWNER)
    shutil.rmtree(folder)


# ---- another version -------------------------------------------------------------------------------------------


VERSION, LIFE = 1, 16  # where the header has them (include/shmq/layout.h)


def test_another_version(resting: Path) -> None:
    mine = int(words(resting / "admin")[VERSION])
    poke(resting / "admin", VERSION, mine + (1 << 32))
    for call in (shmq.open, Region.attach):
        with harmless():
            error = refused(call, "r")
        text = tells(
            error,
            shmq.RegionVersionError,
            ShmqError,
            fact=f"{resting}/admin: layout is",
            value=f"is {mine + (1 << 32):#x}",
            limit=f"this shmq has {mine:#x}",
            remedy=("the same version of shmq in every process", "remove it with"),
        )
    unlink_as_told(text)
    assert works()


# ---- its creator died half-way ---------------------------------------------------------------------------------


def create_and_die(call: str, folder: str | None) -> int:
    pid = os.fork()
    if pid == 0:
        forbid(call)
        shmq.open("r", dir=folder, **SMALL)
        os._exit(0)  # not reached
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("call", ["ftruncate", "fallocate", "renameat2"])
def test_a_creator_that_died_half_way_is_no_error(shmq_dir: Path, run: Elsewhere, call: str) -> None:
    """It is killed before it gives a file its size, before it reserves memory, or when all is built, but not named."""
    assert run(create_and_die, call, None) == 31  # SIGSYS
    (half,) = shmq_dir.iterdir()
    assert half.name.startswith(".new-")
    assert {"lock"} < {path.name for path in half.iterdir()}
    assert works()
    assert list(shmq_dir.iterdir()) == []


# ---- a bad header, offset, length, position --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "field", "value", "bound"),
    [
        (2, "granule shift", 1 << 40, 20),
        (3, "granules", 1 << 40, (1 << 28) - 1),
        (4, "max processes", 1025, 1024),
        (5, "max queues", 0, 1),
        (7, "persist", 2, 1),
        (LIFE, "life", (1 << 64) - 2, (1 << 64) - 3),
    ],
)
def test_a_damaged_header(resting: Path, word: int, field: str, value: int, bound: int) -> None:
    poke(resting / "admin", word, value)
    for call in (shmq.open, Region.attach):
        with harmless():
            error = refused(call, "r")
        text = tells(
            error,
            shmq.RegionCorruptError,
            ShmqError,
            fact=f"{resting}/admin: {field} is",
            value=f"is {value},",
            limit=f"the bound is {bound}:",
            remedy=("the region is damaged", "remove it with"),
        )
    unlink_as_told(text)
    assert works()


BLOCK_BITS = (1 << 28) - 1  # of a slot: its block's number + 1


@pytest.mark.parametrize("what", ["offset", "length", "position"])
def test_a_damaged_message_is_dropped_and_counted(shmq_dir: Path, what: str) -> None:
    """Positions are hints: where they are damaged nothing is lost."""
    admin = shmq_dir / "r" / "admin"
    region = shmq.open("r", **SMALL)
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"first")
    assert drain(rx) == [b"first"]
    loan = tx.loan(777)
    before = words(admin)
    loan.send()
    after = words(admin)
    changed = [int(word) for word in np.flatnonzero(before != after)]
    if what == "offset":
        slot = changed[-1]  # the slots lie behind all else
        poke(admin, slot, int(after[slot]) | BLOCK_BITS)  # beyond the last block
    elif what == "length":
        (length,) = (word for word in changed if after[word] == 777)
        poke(admin, length, 1 << 40)
    else:
        (tail,) = (word for word in changed if word in QUEUES and word % 32 == 0)
        for word in (tail, tail + 8):  # and the head
            poke(admin, word, int(after[word]) ^ 1 << 45)
    tx.send(b"next")
    assert [len(one) for one in drain(rx)] == ([777] if what == "position" else []) + [4]
    assert region.stats()["corrupt"] == (0 if what == "position" else 1)
    assert [(one.loans, one.held) for one in region.processes()] == [(0, 0)]
    with pytest.warns(ResourceWarning, match="1 message undelivered") if what == "offset" else nullcontext():
        region.close()  # what no slot leads to goes with its sender


# ---- truncated, punched, removed -------------------------------------------------------------------------------


def lose(how: str) -> tuple[Exception, list[str], bool]:
    """Open a region, take its memory away, follow the remedy."""
    region = shmq.open("r", **SMALL)
    data = Path(os.environ["SHMQ_DIR"], "r", "data")
    if how == "truncated":
        os.truncate(data, PAGE)
    else:
        with data.open("r+b") as file:
            punch(file.fileno(), MIB - PAGE, PAGE)
    error = refused(region.sender, "q")
    region.close()
    left = [info.name for info in shmq.list_regions()]
    unlink_as_told(str(error))
    return error, left, works()


@pytest.mark.parametrize(
    ("how", "fact", "value", "limit"),
    [
        ("truncated", "truncated by force", "has 4096 bytes", f"expected {MIB}:"),
        ("punched", "a hole was punched into it", f"has {MIB - PAGE} bytes of memory", f"expected {MIB} or more"),
    ],
)
def test_memory_that_was_taken_away(
    start: Callable[..., Any], shmq_dir: Path, how: str, fact: str, value: str, limit: str
) -> None:
    error, left, anew = start(lose, how).result()
    tells(
        error,
        shmq.RegionGoneError,
        ShmqError,
        fact=(f"{shmq_dir}/r/data", fact, "while region 'r' was in use", "what lay there is lost"),
        value=value,
        limit=limit,
        remedy=("Close the region", "shmq.unlink('r', missing_ok=True)", "open it anew", "RemoveIPC"),
    )
    assert left == []
    assert anew


@pytest.mark.parametrize("file", ["data", "lock"])
def test_a_file_that_was_removed(resting: Path, file: str) -> None:
    (resting / file).unlink()
    for call in (shmq.open, Region.attach):
        with harmless():
            error = refused(call, "r")
        text = tells(
            error,
            shmq.RegionGoneError,
            ShmqError,
            fact="is missing, or went away again and again while region 'r' was opened",
            value=f"{resting}/{file}",
            limit="RemoveIPC removes a user's files from /dev/shm at logout",
            remedy=("look for whoever removes files there", "shmq.unlink('r', missing_ok=True)"),
        )
    unlink_as_told(text)
    assert works()


# ---- the registry, or the queues, used up ----------------------------------------------------------------------


def test_every_process_slot_is_taken(start: Callable[..., Any]) -> None:
    with small(max_processes=2) as region:
        other = Partner(start, stay, "other")
        other.hear()
        with harmless(region):
            error = refused(Region.attach, "r")
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact="process slots of region 'r' are taken",
            value=f"pids {os.getpid()}, {other.pid}",
            limit="all 2 process slots",
            remedy=("close some", "a larger max_processes"),
        )
        other.say("go")
        other.result()
        with Region.attach("r") as third:
            assert talk(third)


def test_every_queue_is_taken() -> None:
    with small(max_queues=2) as region:
        tx = region.sender("one")
        tx.send(b"x")
        region.sender("two")
        for call in (region.sender, region.receiver):
            with harmless(region):
                error = refused(call, "three")
            tells(
                error,
                shmq.RegistryFullError,
                ShmqError,
                fact="queue 'three' finds no place",
                value="in use (the queues 'one', 'two')",
                limit="all 2 queues of region 'r'",
                remedy=("delete some with delete_queue", "a larger max_queues"),
            )
        region.delete_queue("two")
        assert talk(region, "three")
        assert drain(region.receiver("one")) == [b"x"]


def test_every_topic_is_taken() -> None:
    with small(max_queues=4) as region:
        region.publisher("one")
        for call in (region.publisher, region.subscriber):
            with harmless(region):
                error = refused(call, "two")
            tells(
                error,
                shmq.RegistryFullError,
                ShmqError,
                fact="topic 'two' finds no place",
                value="are in use ('one')",
                limit=("all 1 topics of region 'r'", "a quarter of max_queues", "stay for the region's life"),
                remedy=("use one of them", "a larger max_queues"),
            )
        subscriber = region.subscriber("one")
        assert region.publisher("one").send(b"x") == 1
        assert drain(subscriber) == [b"x"]


def test_every_place_of_a_topics_subscribers_is_taken() -> None:
    with small() as region:
        subscribers = [region.subscriber("t", depth=1) for _ in range(120)]
        with harmless(region):
            error = refused(region.subscriber, "t")
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact="topic 't' of region 'r' has",
            value="'t'",
            limit="its 120 subscribers",
            remedy=("close some", "two topics"),
        )
        subscribers.pop().close()
        subscribers.append(region.subscriber("t", depth=1))
        assert region.publisher("t").send(b"x") == 120
        assert [drain(subscriber) for subscriber in subscribers] == [[b"x"]] * 120


def attach_as_often_as_can_be() -> tuple[list[Exception], bool, list[str]]:
    """With twice 1,024 mappings under the guard attach once more, create, unlink and list; then close one."""
    small("spare", persist=True).close()
    opened, until_told = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        dead = small("dead")
        os.write(opened[1], dead.name.encode())
        os.read(until_told[0], 1)
        os._exit(0)
    assert os.read(opened[0], 4) == b"dead"
    regions = [small(max_processes=1024)]
    regions += [Region.attach("r", access="receive") for _ in range(1023)]
    os.write(until_told[1], b"!")
    os.waitpid(pid, 0)
    with harmless():
        errors = [
            refused(Region.attach, "spare"),
            refused(shmq.open, "new", **SMALL),
            refused(shmq.unlink, "spare"),
            refused(shmq.list_regions),  # which has to end the one that nobody is left of
        ]
    regions.pop().close()
    with Region.attach("spare") as region:
        good = talk(region)
    shmq.unlink("spare")
    return errors, good, [info.name for info in shmq.list_regions()]


def test_more_mappings_than_a_process_can_guard(shmq_dir: Path, start: Callable[..., Any]) -> None:
    errors, good, left = start(attach_as_often_as_can_be).result(50)
    which_ones = ("region 'spare'", "region 'new'", "region 'spare'", f"{shmq_dir}/dead/lock")
    for error, which in zip(errors, which_ones, strict=True):
        tells(
            error,
            shmq.RegistryFullError,
            ShmqError,
            fact=f"{which} would be one too many for this process",
            value="two for each region",
            limit="it guards up to 2048 mappings against SIGBUS",
            remedy="close some",
        )
    assert good
    assert left == ["r"]


# ---- a size larger than the region that is there ---------------------------------------------------------------


def test_a_size_larger_than_the_region_that_is_there() -> None:
    with small() as region:
        with harmless(region):
            error = refused(shmq.open, "r", size="2MiB")
        tells(
            error,
            shmq.RegionVersionError,
            ShmqError,
            fact=f"region 'r' has 1 MiB ({MIB} bytes)",
            value=f"asked were 2 MiB ({2 * MIB} bytes)",
            limit=f"it was made by pid {os.getpid()}",
            remedy=("open it without size", "let its creator ask for more"),
        )
        with shmq.open("r") as same:
            assert same.size == MIB
    with shmq.open("r", size="2MiB") as region:
        assert region.size == 2 * MIB
