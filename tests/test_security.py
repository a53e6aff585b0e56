# SPDX-License-Identifier: MIT
"""What lies in a region's place and was not made by this user is refused, and so is what is damaged."""

import contextlib
import mmap
import os
import random
import shutil
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Thread, as_root, drain, small

import shmq
from shmq import Region

NOBODY = 65534
FILES = ["admin", "data", "lock"]


@pytest.fixture
def place(shmq_dir: Path) -> Iterator[Path]:
    """A region that nobody is attached to; what is done to it is cleared away."""
    small(persist=True).close()
    yield shmq_dir / "r"
    shutil.rmtree(shmq_dir)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusals(error: type[Exception], *parts: str) -> None:
    """Opening and attaching are both refused, in that way."""
    for call in (shmq.open, Region.attach):
        with pytest.raises(error) as caught:
            Thread(call, "r").result()  # in a thread: what hangs fails the test
        for part in parts:
            assert part in str(caught.value)


# ---- what a region's files are -----------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_this_user_only_whatever_the_umask(shmq_dir: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with small():
            assert mode(shmq_dir / "r") == 0o700
            assert {mode(shmq_dir / "r" / name) for name in FILES} == {0o600}
            assert sorted(path.name for path in (shmq_dir / "r").iterdir()) == FILES
    finally:
        os.umask(before)


def test_a_fresh_directory_is_for_this_user_only(shmq_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMQ_DIR", str(shmq_dir / "fresh"))
    before = os.umask(0)
    try:
        with small():
            assert mode(shmq_dir / "fresh") == 0o700
    finally:
        os.umask(before)
    (shmq_dir / "fresh").rmdir()  # whoever names a directory keeps it


def test_descriptors_are_not_inherited_by_other_programs() -> None:
    def descriptors() -> set[str]:
        return set(os.listdir("/proc/self/fd"))

    before = descriptors()
    with small() as region:
        region.sender("q", depth=65536)
        new = [int(name) for name in descriptors() - before if Path(f"/proc/self/fd/{name}").exists()]
        assert new
        assert not any(os.get_inheritable(number) for number in new)
    assert descriptors() == before


# ---- something else in its place -----------------------------------------------------------------------------


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def replace_by_dangling_link(path: Path) -> None:
    remove(path)
    path.symlink_to("nowhere")


def replace_by_fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path, 0o600)


def replace_by_socket(path: Path) -> None:
    remove(path)
    with socket.socket(socket.AF_UNIX) as place, _in(path.parent):
        place.bind(path.name)
    path.chmod(0o600)


def replace_by_directory(path: Path) -> None:
    remove(path)
    path.mkdir(0o700)


def replace_by_file(path: Path) -> None:
    remove(path)
    path.touch(0o600)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


class _in:
    """In another directory for a moment: the path of a socket must be short."""

    def __init__(self, path: Path) -> None:
        self._path, self._before = path, os.getcwd()

    def __enter__(self) -> None:
        os.chdir(self._path)

    def __exit__(self, *error: object) -> None:
        os.chdir(self._before)


IMPOSTORS = [replace_by_link, replace_by_dangling_link, replace_by_fifo, replace_by_socket, replace_by_directory]


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("file", FILES)
def test_a_file_of_another_kind_is_refused_and_does_not_hang(
    place: Path, file: str, impostor: Callable[[Path], None]
) -> None:
    impostor(place / file)
    refusals(shmq.RegionSecurityError, str(place / file), "expected", "SHMQ_DIR")


@pytest.mark.parametrize("impostor", [replace_by_link, replace_by_dangling_link, replace_by_fifo, replace_by_file])
def test_something_other_than_a_directory_in_the_regions_place_is_refused(
    place: Path, impostor: Callable[[Path], None]
) -> None:
    impostor(place)
    refusals(shmq.RegionSecurityError, str(place), "expected")


@pytest.mark.parametrize("impostor", [replace_by_link, replace_by_dangling_link, replace_by_fifo, replace_by_file])
def test_a_directory_of_regions_that_is_none_is_refused(
    place: Path, impostor: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.parent / "regions"
    folder.mkdir(0o700)
    impostor(folder)
    monkeypatch.setenv("SHMQ_DIR", str(folder))
    refusals(shmq.RegionSecurityError, str(folder), "expected")


@pytest.mark.parametrize("loose", [0o620, 0o640, 0o602, 0o604, 0o660, 0o666, 0o777])
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_others_may_open_is_refused(place: Path, file: str, loose: int) -> None:
    (place / file).chmod(loose)
    refusals(shmq.RegionSecurityError, str(place / file), f"{loose:#o}", f"{loose & ~0o77:#o}", "mode")


@pytest.mark.parametrize("loose", [0o770, 0o707, 0o750, 0o701, 0o777, 0o1777])
def test_a_directory_that_others_may_enter_is_refused(place: Path, loose: int) -> None:
    place.chmod(loose)
    refusals(shmq.RegionSecurityError, str(place), "mode", f"{loose:#o}")
    place.chmod(0o700)
    place.parent.chmod(loose)
    refusals(shmq.RegionSecurityError, str(place.parent), "mode", f"{loose:#o}")


@pytest.mark.parametrize("file", FILES)
def test_a_file_with_a_second_name_is_refused(place: Path, file: str) -> None:
    os.link(place / file, place.parent / "another-name")
    refusals(shmq.RegionSecurityError, str(place / file), "link count", "found 2, expected 1")


@as_root
@pytest.mark.parametrize("file", ["", *FILES])
def test_a_file_of_another_user_is_refused(place: Path, file: str) -> None:
    os.chown(place / file, NOBODY, NOBODY)
    refusals(shmq.RegionSecurityError, str(place / file), "owner", f"found {NOBODY}, expected {os.getuid()}")


@as_root
def test_a_directory_of_regions_of_another_user_is_refused(place: Path) -> None:
    os.chown(place.parent, NOBODY, NOBODY)
    refusals(shmq.RegionSecurityError, str(place.parent), "owner", f"found {NOBODY}")


def test_a_public_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("/dev/shm", "/tmp", "/"):
        monkeypatch.setenv("SHMQ_DIR", folder)
        refusals(shmq.RegionSecurityError, folder)


# ---- another user --------------------------------------------------------------------------------------------


def as_another(folder: str, what: str) -> str:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    calls: dict[str, Callable[[], Any]] = {
        "open": lambda: shmq.open("r", dir=folder),
        "attach": lambda: Region.attach("r", dir=folder),
        "list": lambda: shmq.list_regions(folder),
        "unlink": lambda: shmq.unlink("r", dir=folder),
    }
    try:
        return repr(calls[what]())
    except (shmq.RegionPermissionError, shmq.RegionSecurityError) as error:
        return f"{type(error).__name__}: {error}"


@as_root
@pytest.mark.parametrize("what", ["open", "attach", "list", "unlink"])
def test_another_user_gets_nowhere(place: Path, start: Callable[..., Any], what: str) -> None:
    text = start(as_another, str(place.parent), what).result()
    assert text.startswith(("RegionPermissionError", "RegionSecurityError"))
    for part in (str(place.parent), f"uid {NOBODY}"):
        assert part in text
    assert Region.attach("r").name == "r"


@as_root
def test_a_group_shares_a_directory_of_its_own(place: Path, start: Callable[..., Any]) -> None:
    folder = place.parent / "group"
    folder.mkdir()
    os.chown(folder, 0, NOBODY)
    folder.chmod(0o2770)
    place.parent.chmod(0o711)
    with small(mode=0o660, dir=folder) as region:
        assert mode(folder / "r") == 0o770
        assert {mode(folder / "r" / name) for name in FILES} == {0o660}
        child = start(send_as_member, str(folder))
        assert child.result() is True
        assert drain(region.receiver("q")) == [b"from a member"]


def send_as_member(folder: str) -> bool:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY - 1)
    with shmq.open("r", mode=0o660, dir=folder) as region:
        return region.sender("q").send(b"from a member")


def test_a_region_for_a_group_is_not_made_in_a_directory_for_everyone(place: Path) -> None:
    folder = place.parent / "everyone"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(shmq.RegionSecurityError, match="mode"):
        small(mode=0o660, dir=folder)


# ---- another version, damage ---------------------------------------------------------------------------------


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# where include/shmq/layout.h puts the fields of the header
FIELDS = ["magic", "version", "granule_shift", "granules", "max_processes", "max_queues", "region_id", "persist"]
HEADER = {name: 8 * index for index, name in enumerate(FIELDS)}


@pytest.mark.parametrize("change", [1, 1 << 32, 1 << 63])
def test_another_layout_version_names_both(place: Path, change: int) -> None:
    (version,) = struct.unpack_from("<Q", (place / "admin").read_bytes(), HEADER["version"])
    overwrite(place / "admin", HEADER["version"], struct.pack("<Q", version ^ change))
    refusals(shmq.RegionVersionError, f"{version:#x}", f"{version ^ change:#x}", "unlink")
    shmq.unlink("r")
    with small():
        pass


@pytest.mark.parametrize("value", [1 << 33, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("field", ["magic", "granule_shift", "granules", "max_processes", "max_queues", "persist"])
def test_a_damaged_header_names_the_field_the_value_and_the_bound(place: Path, field: str, value: int) -> None:
    overwrite(place / "admin", HEADER[field], struct.pack("<Q", value))
    refusals(shmq.RegionCorruptError, str(place / "admin"), field.split("_")[0], str(value), "bound", "unlink")


@pytest.mark.parametrize("size", [0, 1, 8, 4095, 4096, -4096, -1])
@pytest.mark.parametrize("file", ["admin", "data"])
def test_a_truncated_file_is_refused_with_both_sizes(place: Path, file: str, size: int) -> None:
    full = (place / file).stat().st_size
    os.truncate(place / file, size if size >= 0 else full + size)
    if file == "admin" and size in (4095, 8, 1, 0):
        refusals(shmq.RegionCorruptError, str(place / file), "size", str(size))
    else:
        refusals(shmq.RegionCorruptError, str(place / file), "size", str((place / file).stat().st_size), str(full))


@pytest.mark.parametrize("file", ["data", "lock"])
def test_a_missing_file_is_told(place: Path, file: str) -> None:
    (place / file).unlink()
    refusals(shmq.RegionGoneError, str(place / file), "RemoveIPC")


def test_what_no_file_of_a_region_is_left_of_is_made_anew(place: Path) -> None:
    for name in FILES:
        (place / name).unlink()
    with pytest.raises(shmq.RegionNotFoundError):
        Region.attach("r")
    with small() as region:
        assert len(region.processes()) == 1


@pytest.mark.parametrize("impostor", [replace_by_fifo, replace_by_file, replace_by_dangling_link])
def test_listing_passes_over_what_is_no_region(place: Path, impostor: Callable[[Path], None]) -> None:
    impostor(place / "admin")
    (place.parent / "a file").write_text("x")
    os.mkfifo(place.parent / "fifo")
    (place.parent / "folder").mkdir()
    with small("good"):
        assert "good" in [info.name for info in shmq.list_regions()]
    assert {path.name for path in place.parent.iterdir()} >= {"a file", "fifo", "r"}


def test_unlinking_removes_nothing_but_a_regions_files(place: Path, shmq_dir: Path) -> None:
    (place / "mine").write_text("precious")
    (shmq_dir / "other").mkdir(0o700)
    (shmq_dir / "other" / "mine").write_text("precious")
    for name in ("r", "other"):
        with pytest.raises((OSError, shmq.ShmqError)):
            shmq.unlink(name)
        assert (shmq_dir / name / "mine").read_text() == "precious"


# ---- damage while it is in use ---------------------------------------------------------------------------------

KEPT: list[Any] = []  # subscribers, messages and views that operations leave to others


def policy() -> Any:
    return random.choice(["block", "drop_oldest", "drop_newest"])


OPERATIONS: list[Callable[[Region], Any]] = [
    lambda region: region.sender("q", depth=8).send(b"x" * 100, timeout=0),
    lambda region: region.sender("q", depth=8).send_many([b"x", b"y" * 3000], timeout=0),
    lambda region: region.sender("q").loan(5000, timeout=0).send(timeout=0),
    lambda region: region.sender("q").loan((3, 4), "f8", timeout=0).array.fill(1),
    lambda region: region.receiver("q", shared=True).receive(0).array.sum(),
    lambda region: bytes(region.receiver("q", shared=True).receive(0.001)),
    lambda region: region.receiver("q", shared=True).receive_many(10, 0),
    lambda region: repr(region.receiver("q", shared=True).receive(0).sender),
    lambda region: region.receiver(f"n{random.randrange(9)}"),
    lambda region: region.sender(f"n{random.randrange(9)}", depth=random.choice([1, 100, 65536])),
    lambda region: region.delete_queue("q"),
    lambda region: region.sender("q").shutdown(immediate=True),
    lambda region: region.sender("q").qsize(),
    lambda region: region.publisher("t").send(b"x" * 100, timeout=0),
    lambda region: region.publisher("t").loan((3, 4), "f8", timeout=0).send(timeout=0.001),
    lambda region: region.publisher("t").shutdown(),
    lambda region: region.publisher(f"t{random.randrange(9)}").subscribers,
    lambda region: KEPT.append(region.subscriber("t", depth=random.choice([1, 64, 1000]), overflow=policy())),
    lambda region: KEPT.append(random.choice(KEPT).receive(0)),
    lambda region: random.choice(KEPT).release(),
    lambda region: random.choice(KEPT).edit(region.sender("q"), timeout=0.001).send(timeout=0),
    lambda region: random.choice(KEPT).forward(region.sender("q"), timeout=0),
    lambda region: random.choice(KEPT).forward(region.publisher("t"), timeout=0),
    lambda region: KEPT.append(random.choice(KEPT).array),
    lambda region: random.choice(KEPT).dropped,
    lambda region: random.choice(KEPT).close(),
    lambda region: KEPT.pop(random.randrange(len(KEPT))),
    lambda region: region.receiver("q", shared=True).receive(0).edit().discard(),
    lambda region: region.receiver("q", shared=True).receive(0).forward(region.sender("q"), timeout=0),
    lambda region: region.receiver("q", shared=True).receive(0).forward(region.publisher("t"), timeout=0),
    lambda region: region.receiver(f"d{random.randrange(9)}", overflow=policy()).dropped,
    lambda region: region.sender(f"d{random.randrange(9)}", depth=2).send(b"x" * 700, timeout=0),
    lambda region: region.peer(region.process).send(b"x", timeout=0),
    lambda region: bytes(region.inbox.receive(0)),
    lambda region: region.peer("nobody"),
    lambda region: region.processes(),
    lambda region: region.stats(),
    lambda region: region.recover(),
    lambda region: shmq.list_regions(),
    lambda region: Region.attach("r").close(),
]


def use_what_is_damaged(seed: int) -> int:
    """Write at random over a region's words while it is in use; how many operations went on as if nothing were."""
    random.seed(seed)
    good = 0
    folder = Path(os.environ["SHMQ_DIR"])
    for _ in range(60):
        shutil.rmtree(folder / "r", ignore_errors=True)
        region = Region.create("r", size="1MiB", max_processes=4, max_queues=8)
        region.sender("q", depth=8).send(b"before")
        KEPT[:] = [region.subscriber("t", depth=4), region.subscriber("t", depth=2, overflow="drop_oldest")]
        region.publisher("t").send(b"before")
        with (folder / "r" / "admin").open("r+b") as file, mmap.mmap(file.fileno(), 0) as words:
            used = (np.fromfile(folder / "r" / "admin", "<u8").nonzero()[0] * 8).tolist()
            for _ in range(40):
                at = random.choice(used) if random.random() < 0.7 else random.randrange(0, len(words), 8)
                (old,) = struct.unpack_from("<Q", words, at)
                new = random.choice(
                    [0, (1 << 64) - 1, old + 1, old ^ 1 << random.randrange(64), random.getrandbits(64)]
                )
                struct.pack_into("<Q", words, at, new % (1 << 64))
                try:
                    random.choice(OPERATIONS)(region)
                    good += 1
                except (shmq.ShmqError, ValueError, MemoryError, OSError, BufferError, AttributeError, IndexError):
                    pass
        KEPT.clear()
        with contextlib.suppress(ResourceWarning, shmq.ShmqError):
            region.close()
    shutil.rmtree(folder / "r", ignore_errors=True)
    return good


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_over_a_regions_words_nobody_crashes_or_hangs(start: Callable[..., Any], seed: int) -> None:
    assert start(use_what_is_damaged, seed).result() > 0
