# SPDX-License-Identifier: MIT
"""Other users can neither open, read, replace nor squat a region, and who is refused is told what was found.

The strangers are real: children that gave root's rights up. So all but a few of these tests need root.
"""

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apart import (
    FILES,
    NOBODY,
    OWNER,
    SHM,
    Elsewhere,
    Fork,
    Refusals,
    attempts,
    attempts_at,
    can_mount,
    check,
    forked,
    open_and_use,
    own_shm,
    tamper,
    tree,
)
from helpers import as_root, drain, small


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process, as another user."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


# ---- the default directory, squatted before its owner comes ---------------------------------------------------------


def squat_directory(place: Path, mode: int) -> None:
    place.mkdir()
    place.chmod(mode)


def squat_link(place: Path, target: str) -> None:
    place.symlink_to(target)


def squat_fifo(place: Path) -> None:
    os.mkfifo(place, 0o666)


def squat_file(place: Path) -> None:
    place.write_text("mine")


def squat_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(place))


def squat_region(place: Path) -> None:
    """A whole region of the stranger's, made by shmq."""
    small(persist=True, dir=place).close()
    place.chmod(0o755)
    (place / "r").chmod(0o755)
    for name in FILES:
        (place / "r" / name).chmod(0o666)


def squatted(owner: int, squat: Callable[..., None], *arguments: Any) -> tuple[Refusals, bool]:
    """In a fresh /dev/shm: nobody is there first, then the owner comes; and was the squat left as it was?"""
    own_shm()
    place = SHM / f"shmq-{owner}"
    (SHM / "own").mkdir()
    os.chown(SHM / "own", owner, owner)
    (SHM / "own").chmod(0o700)
    forked(squat, place, *arguments, user=NOBODY)
    before = [*tree(SHM)]
    found = forked(attempts, user=owner) if owner else attempts()
    return found, tree(SHM) == before


SQUATS: list[tuple[Any, ...]] = [
    (squat_link, "a symbolic link", str(SHM / "own")),
    (squat_link, "a symbolic link", "nowhere"),
    (squat_fifo, "a FIFO"),
    (squat_file, "a plain file"),
    (squat_socket, "a socket"),
]


@as_root
@can_mount
@pytest.mark.parametrize("mode", [0o000, 0o700, 0o755, 0o777, 0o1777, 0o2770])
@pytest.mark.parametrize("owner", [0, OWNER])
def test_a_directory_that_a_stranger_made_first_is_refused_and_names_him(run: Elsewhere, owner: int, mode: int) -> None:
    found, untouched = run(squatted, owner, squat_directory, mode)
    remedy = "ask its owner or root to remove it" if owner else "look who put it there and remove it"
    check(
        found,
        "RegionSecurityError",
        f"{SHM}/shmq-{owner}: owner: found {NOBODY}, expected {owner}",
        f"uid {NOBODY} (nobody)",
        f"mode {mode:#o}",
        remedy,
        "SHMQ_DIR",
    )
    assert untouched


@as_root
@can_mount
@pytest.mark.parametrize(("squat", "kind", "arguments"), [(one[0], one[1], one[2:]) for one in SQUATS])
@pytest.mark.parametrize("owner", [0, OWNER])
def test_whatever_else_a_stranger_put_in_its_place_is_refused_and_named(
    run: Elsewhere, owner: int, squat: Callable[..., None], kind: str, arguments: tuple[str, ...]
) -> None:
    found, untouched = run(squatted, owner, squat, *arguments)
    check(
        found,
        "RegionSecurityError",
        f"{SHM}/shmq-{owner}: file type: found {kind}, expected a directory",
        f"uid {NOBODY} (nobody)",
        "SHMQ_DIR",
    )
    assert untouched


@as_root
@can_mount
def test_a_region_that_a_stranger_prepared_is_not_taken_for_ones_own(run: Elsewhere) -> None:
    found, untouched = run(squatted, OWNER, squat_region)
    check(found, "RegionSecurityError", f"owner: found {NOBODY}, expected {OWNER}", "mode 0o755")
    assert untouched


# ---- a region in use --------------------------------------------------------------------------------------------


@as_root
def test_a_stranger_can_do_nothing_to_a_region_in_use(shmq_dir: Path, run: Elsewhere) -> None:
    with small() as region:
        region.sender("q").send(b"before")
        admin = os.stat(shmq_dir / "r" / "admin")
        mine = [int(one) for one in os.listdir("/proc/self/fd") if _is(int(one), admin)]
        before = tree(shmq_dir)
        assert run(tamper, shmq_dir, os.getpid(), mine[0], user=NOBODY) == []
        assert tree(shmq_dir) == before
        region.sender("q").send(b"after")
        assert drain(region.receiver("q")) == [b"before", b"after"]


def _is(descriptor: int, status: os.stat_result) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def hold_in_default_directory(pipe: int) -> list[bytes]:
    with small() as region:
        region.sender("q").send(b"before")
        os.read(pipe, 1)
        region.sender("q").send(b"after")
        return drain(region.receiver("q"))


def tamper_with_the_default() -> tuple[list[str], list[bytes], Refusals, list[str]]:
    own_shm()
    ends = os.pipe()
    owner = Fork(hold_in_default_directory, ends[0], user=OWNER)
    place = SHM / f"shmq-{OWNER}"
    while not (place / "r").exists():
        pass
    descriptor = next(int(one) for one in os.listdir(f"/proc/{owner.pid}/fd") if _leads(owner.pid, one, "admin"))
    allowed = forked(tamper, place, owner.pid, descriptor, user=NOBODY)
    found = forked(attempts_at, str(place), user=NOBODY)
    os.write(ends[1], b"!")
    return allowed, owner.result(), found, [path.name for path in SHM.iterdir()]


def _leads(pid: int, descriptor: str, name: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}").endswith(f"/{name}")
    except OSError:
        return False


@as_root
@can_mount
def test_the_sticky_bit_keeps_the_default_directory_where_it_is(run: Elsewhere) -> None:
    allowed, received, found, left = run(tamper_with_the_default)
    assert allowed == []
    assert received == [b"before", b"after"]
    check(found, "RegionSecurityError", f"owner: found {OWNER}, expected {NOBODY}", "ask its owner or root")
    assert left == []


@as_root
def test_a_stranger_behind_a_closed_door_is_told_so(shmq_dir: Path, run: Elsewhere) -> None:
    """He cannot even see whose directory it is: so no owner and no mode is claimed."""
    folder = shmq_dir / "inner"
    folder.mkdir(0o700)
    found = run(attempts_at, str(folder), user=NOBODY)
    folder.rmdir()
    check(
        found,
        "RegionPermissionError",
        f"{folder}: permission denied (open): a directory above it keeps you out",
        f"you are uid {NOBODY} (nobody)",
        "chmod 2770",
    )
    assert all("mode 0o0" not in text for _, text in found.values())


# ---- what somebody with more rights put into the owner's directory --------------------------------------------------


@pytest.fixture
def owned(shmq_dir: Path) -> Iterator[Path]:
    """A region of OWNER's with nobody attached."""
    shmq_dir.chmod(0o711)
    folder = shmq_dir / "owned"
    folder.mkdir(0o700)
    os.chown(folder, OWNER, OWNER)
    yield folder
    shutil.rmtree(folder)


def make(folder: str) -> None:
    small(persist=True, dir=folder).close()


def by_link(path: Path) -> str:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")
    return "file type: found a symbolic link, expected a plain file"


def by_link_of_a_strangers(path: Path) -> str:
    by_link(path)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return f"found a symbolic link, expected a plain file (a symbolic link of uid {NOBODY} (nobody)"


def by_hard_link(path: Path) -> str:
    os.link(path, path.with_name("second"))
    return "link count: found 2, expected 1"


def by_fifo(path: Path) -> str:
    path.unlink()
    os.mkfifo(path, 0o600)
    os.chown(path, OWNER, OWNER)
    return "file type: found a FIFO, expected a plain file"


def by_device(path: Path) -> str:
    path.unlink()
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.chown(path, OWNER, OWNER)
    return "file type: found a character device, expected a plain file"


def by_directory(path: Path) -> str:
    path.unlink()
    path.mkdir(0o700)
    os.chown(path, OWNER, OWNER)
    return "file type: found a directory, expected a plain file"


def by_a_strangers_file(path: Path) -> str:
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o666)
    return f"owner: found {NOBODY}, expected {OWNER} (a plain file of uid {NOBODY} (nobody), gid {NOBODY} (nogroup)"


def by_a_group_writable_file(path: Path) -> str:
    path.chmod(0o620)
    return f"mode: found 0o620, expected 0o600 (a plain file of uid {OWNER}, gid {OWNER}, mode 0o620)"


@as_root
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "replace",
    [
        by_link,
        by_link_of_a_strangers,
        by_hard_link,
        by_fifo,
        by_device,
        by_directory,
        by_a_strangers_file,
        by_a_group_writable_file,
    ],
)
def test_a_file_that_is_not_what_it_was_is_refused_and_described(
    owned: Path, run: Elsewhere, file: str, replace: Callable[[Path], str]
) -> None:
    run(make, str(owned), user=OWNER)
    path = owned / "r" / file
    text = replace(path)
    found = run(attempts_at, str(owned), user=OWNER)
    check(found, "RegionSecurityError", f"{path}: ", text, "SHMQ_DIR", ways=("open", "attach"))
    if file == "data":  # which who only wants to know what is there does not look at
        check(found, "RegionExistsError", f"uid {OWNER}", ways=("create",))
        assert found["list"][1].startswith("[RegionInfo(name='r'")
    else:
        check(found, "RegionSecurityError", f"{path}: ", text, ways=("create",))
        assert found["list"] == ("nothing", "[]")  # what is no sound region is left out
    if replace in (by_directory, by_link, by_link_of_a_strangers, by_hard_link):
        text = "something that is no file of a region lies there; look what it is, and move or remove it"
        check(found, "RegionFileError", f"{owned}/r", text, ways=("unlink",))
        kept = file if replace is by_directory else "second" if replace is by_hard_link else "moved"
        assert kept in os.listdir(owned / "r")
    else:
        assert found["unlink"] == ("nothing", "None")
        assert tree(owned) == []


@as_root
@pytest.mark.parametrize("size", [0, 1, 1 << 12, (1 << 20) - 1, (1 << 20) + 1])
def test_a_file_of_another_size_is_refused_with_both_sizes(owned: Path, run: Elsewhere, size: int) -> None:
    run(make, str(owned), user=OWNER)
    os.truncate(owned / "r" / "data", size)
    found = run(attempts_at, str(owned), user=OWNER)
    check(found, "RegionCorruptError", f"file size is {size}", str(1 << 20), "unlink", ways=("open", "attach"))


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o777, 0o2770])
def test_a_region_that_somebody_else_made_in_ones_directory_is_refused(owned: Path, run: Elsewhere, mode: int) -> None:
    (owned / "r").mkdir()
    os.chown(owned / "r", NOBODY, NOBODY)
    (owned / "r").chmod(mode)
    found = run(attempts_at, str(owned), user=OWNER)
    check(
        found,
        "RegionSecurityError",
        f"{owned}/r: owner: found {NOBODY}, expected {OWNER}",
        f"mode {mode:#o}",
        ways=("open", "create", "attach", "unlink"),
    )
    assert (owned / "r").exists()


def with_a_strangers_lock(folder: Path) -> None:
    os.mkfifo(folder / "lock")
    os.chown(folder / "lock", NOBODY, NOBODY)


def with_a_strangers_files(folder: Path) -> None:
    for name in FILES:
        (folder / name).write_text("x")
        os.chown(folder / name, NOBODY, NOBODY)


@as_root
@pytest.mark.parametrize("fill", [lambda folder: None, with_a_strangers_lock, with_a_strangers_files])
@pytest.mark.parametrize("mode", [0o000, 0o700, 0o777])
def test_a_strangers_half_made_region_is_in_nobodys_way(
    owned: Path, run: Elsewhere, mode: int, fill: Callable[[Path], None]
) -> None:
    run(make, str(owned), user=OWNER)
    for name in (".new-x", f".new-{0:016x}-{0:016x}-r", f".new-{0:016x}-{0:016x}-s"):
        (owned / name).mkdir()
        fill(owned / name)
        os.chown(owned / name, NOBODY, NOBODY)
        (owned / name).chmod(mode)
    assert run(open_and_use, str(owned), "r", user=OWNER) == [b"hello"]
    assert run(open_and_use, str(owned), "s", user=OWNER) == [b"hello"]


@as_root
def test_links_in_place_of_half_made_regions_are_not_followed(owned: Path, run: Elsewhere) -> None:
    precious = owned.parent / "precious"
    precious.mkdir(0o700)
    with_a_strangers_files(precious)
    for path in (precious, *precious.iterdir()):
        os.chown(path, OWNER, OWNER)
    (owned / ".new-x").symlink_to(precious)
    (owned / "q").symlink_to(precious)
    assert run(open_and_use, str(owned), "r", user=OWNER) == [b"hello"]
    found = run(attempts_at, str(owned), 0o600, "q", user=OWNER)
    check(found, "RegionSecurityError", "a symbolic link", ways=("open", "attach", "unlink"))
    assert sorted(path.name for path in precious.iterdir()) == FILES
    shutil.rmtree(precious)


# ---- $SHMQ_DIR ----------------------------------------------------------------------------------------------


def attempts_with(variable: str) -> Refusals:
    os.environ["SHMQ_DIR"] = variable
    return attempts()


@as_root
@pytest.mark.parametrize("slashes", ["", "/", "///"])
def test_a_link_is_not_followed_however_it_is_spelled(owned: Path, run: Elsewhere, slashes: str) -> None:
    link = owned.parent / "link"
    link.symlink_to(owned)
    found = run(attempts_with, f"{link}{slashes}", user=OWNER)
    link.unlink()
    check(found, "RegionSecurityError", f"{link}: file type: found a symbolic link, expected a directory")
    assert tree(owned) == []


@as_root
def test_a_foreign_directory_is_refused_by_whatever_name_it_comes(owned: Path, run: Elsewhere) -> None:
    for variable in (f"{owned}", f"{owned}/", f"{owned.parent}/../{owned.parent.name}/./owned"):
        found = run(attempts_with, variable, user=NOBODY)
        check(found, "RegionSecurityError", f"found {OWNER}, expected {NOBODY}", f"uid {NOBODY} (nobody)")


def test_a_directory_that_is_no_absolute_path_is_refused_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("relative", "./here", "~"):
        monkeypatch.setenv("SHMQ_DIR", variable)
        check(attempts(), "ValueError", f"the directory of regions is {variable!r}", "give an absolute path")
    monkeypatch.setenv("SHMQ_DIR", "/" + "x" * 2000)
    check(attempts(), "ValueError", "length of the directory's path is 2001 bytes: the limit is 1023", "SHMQ_DIR")
    with pytest.raises(ValueError, match=r"dir is '/dev/shm\\x00/r': a path has no null character"):
        small(dir="/dev/shm\0/r")


def test_a_directory_below_nothing_is_told_as_such(shmq_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMQ_DIR", str(shmq_dir / "no" / "such"))
    found = attempts()
    text = f"the directory of regions {shmq_dir}/no/such cannot be made: {shmq_dir}/no is not there; make it"
    check(found, "RegionNotFoundError", text, "SHMQ_DIR", ways=("open", "create"))
    check(found, "RegionNotFoundError", "there is no region 'r'", ways=("attach", "unlink"))
    assert found["list"] == ("nothing", "[]")


@as_root
def test_where_no_directory_can_be_made_the_error_says_who_could(owned: Path, run: Elsewhere) -> None:
    for folder in (owned.parent, Path("/dev")):
        found = run(attempts_with, f"{folder}/new", user=OWNER)
        mode = stat.S_IMODE(folder.stat().st_mode)
        text = f"{folder}: permission denied (mkdir): it belongs to uid 0 (root), gid 0 (root), mode {mode:#o}; you are"
        check(found, "RegionPermissionError", text, "run as the owner", ways=("open", "create"))
        check(found, "RegionNotFoundError", ways=("attach", "unlink"))
        assert found["list"] == ("nothing", "[]")
    found = run(attempts_with, "/new", user=OWNER)
    check(found, "RegionPermissionError", "/: permission denied (mkdir): it belongs to", ways=("open", "create"))


def in_what_can_only_be_read() -> Refusals:
    own_shm("ro")
    return attempts()


@can_mount
def test_a_file_system_that_can_only_be_read_is_told_as_such(run: Elsewhere) -> None:
    found = run(in_what_can_only_be_read)
    check(
        found,
        "RegionPermissionError",
        f"{SHM}: read-only file system (mkdir)",
        "that can be written to",
        "SHMQ_DIR",
        ways=("open", "create"),
    )
    check(found, "RegionNotFoundError", ways=("attach", "unlink"))


def swap(place: Path) -> None:
    """Who may write to what the directory lies in takes it away and puts one of his own there."""
    place.rename(place.with_name("away"))
    squat_region(place)


@as_root
def test_who_owns_what_the_directory_lies_in_can_take_it_away_but_not_pass_his_own_off(
    shmq_dir: Path, run: Elsewhere
) -> None:
    shmq_dir.chmod(0o711)
    above = shmq_dir / "above"
    above.mkdir()
    os.chown(above, NOBODY, NOBODY)
    above.chmod(0o755)
    (above / "d").mkdir(0o700)
    with small(dir=above / "d") as region:
        run(swap, above / "d", user=NOBODY)
        found = attempts(dir=str(above / "d"))
        check(found, "RegionSecurityError", f"owner: found {NOBODY}, expected 0", ways=("open", "create", "attach"))
        check(found, "RegionSecurityError", f"group of the directory: found {NOBODY}", ways=("list", "unlink"))
        region.sender("q").send(b"undisturbed")
        assert drain(region.receiver("q")) == [b"undisturbed"]
        allowed = run(tamper, above / "away", os.getpid(), 0, user=NOBODY)
        rights = (
            "rename the directory",
            "replace the directory",
            "remove the directory: [Errno 39] Directory not empty",
        )
        assert [what for what in allowed if not what.startswith(rights)] == []
    shutil.rmtree(above)
