# SPDX-License-Identifier: MIT
"""Processes apart from the others: as another user, in a shared memory of their own, under limits of their own."""

import ctypes
import errno
import fcntl
import multiprocessing
import os
import pickle
import platform
import resource
import shutil
import signal
import struct
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from helpers import TIMEOUT, drain, small

import shmq
from shmq import Region

NOBODY = 65534
OWNER, MEMBER, OUTSIDER = 61001, 61002, 61003  # users that no system has; each is its own group
TEAM = 61100

PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 0x40000, 0x1000
SHM = Path("/dev/shm")


# ---- users --------------------------------------------------------------------------------------------------


def become(uid: int, *groups: int) -> None:
    """Give up root's rights for good: be `uid`, in the group of the same number and in `groups`."""
    import grp
    import pwd

    import shmq.explain
    import shmq.info  # now, as is shmq.Full: another user may not be able to read any library

    assert all((grp, pwd, shmq.explain, shmq.info, shmq.Full))
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


class Fork:
    """A forked child that runs a function, as the user that is asked for."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, user: int = 0, groups: tuple[int, ...] = ()):
        self._end, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(self._end)
            _run(theirs, function, arguments, user, groups)
        os.close(theirs)

    def result(self) -> Any:
        """What the function returned; what it raised, or its death by a signal, fails the test."""
        with os.fdopen(self._end, "rb") as end:
            answer = end.read()
        _, status = os.waitpid(self.pid, 0)
        assert not os.WIFSIGNALED(status), f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
        done, result = pickle.loads(answer)
        assert done, f"the child raised:\n{result}"
        return result

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._end)
        os.waitpid(self.pid, 0)


def _run(
    end: int, function: Callable[..., Any], arguments: tuple[Any, ...], user: int, groups: tuple[int, ...]
) -> None:
    status = 1
    try:
        if user:
            become(user, *groups)
            _libc("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)  # again: a change of user forgets it
        answer = pickle.dumps((True, function(*arguments)))
        status = 0
    except BaseException:
        answer = pickle.dumps((False, traceback.format_exc()))
    with os.fdopen(end, "wb") as file:
        file.write(answer)
    os._exit(status)


class Elsewhere:
    """A process that forks a child for each call: quicker than a fresh interpreter each, and with no threads in it."""

    def __init__(self) -> None:
        self._process: Any = None

    def __call__(
        self, function: Callable[..., Any], *arguments: Any, user: int = 0, groups: tuple[int, ...] = ()
    ) -> Any:
        """The function's result in a child that is `user` and has this test's directory of regions."""
        if self._process is None:
            self._start()
        self._link.send((os.environ.get("SHMQ_DIR"), function, arguments, user, groups))
        if not self._link.poll(TIMEOUT):
            self.close()
            raise AssertionError(f"no result within {TIMEOUT} s")
        done, result = self._link.recv()
        assert done, f"it raised:\n{result}"
        return result

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """End the process, and with it what it started."""
        if self._process is not None:
            self._link.close()
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None


def _serve(link: Connection) -> None:
    while True:
        try:
            directory, function, arguments, user, groups = link.recv()
        except EOFError:
            return
        if directory is not None:
            os.environ["SHMQ_DIR"] = directory
        try:
            answer = (True, forked(function, *arguments, user=user, groups=groups))
        except BaseException:
            answer = (False, traceback.format_exc())
        link.send(answer)


def forked(function: Callable[..., Any], *arguments: Any, user: int = 0, groups: tuple[int, ...] = ()) -> Any:
    """The function's result in a forked child."""
    return Fork(function, *arguments, user=user, groups=groups).result()


# ---- mounts -------------------------------------------------------------------------------------------------


def _libc(name: str, *arguments: Any) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}{arguments}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: Path, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """As mount(2)."""
    texts = (text.encode() if text is not None else None for text in (source, str(target), kind))
    _libc("mount", *texts, ctypes.c_ulong(flags), data.encode() if data is not None else None)


def own_mounts() -> None:
    """From now on this process's mounts are its own: as root, or in a user namespace in which it is who it was."""
    uid, gid = os.geteuid(), os.getegid()
    _libc("unshare", CLONE_NEWNS | (CLONE_NEWUSER if uid else 0))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    mount("none", Path("/"), None, MS_REC | MS_PRIVATE)


def own_shm(options: str = "") -> Path:
    """A fresh tmpfs over /dev/shm, for this process and its children only; the default directory of regions in it."""
    own_mounts()
    mount("tmpfs", SHM, "tmpfs", 0, f"mode=1777,{options}")
    os.environ.pop("SHMQ_DIR", None)
    return SHM / f"shmq-{os.geteuid()}"


def _can_mount() -> bool:
    command = ["unshare", *(["-Ur"] if os.geteuid() else []), "-m", "mount", "-t", "tmpfs", "tmpfs", str(SHM)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


can_mount = pytest.mark.skipif(not _can_mount(), reason="needs root, or a user namespace, to mount a tmpfs")


# ---- system calls that are refused ----------------------------------------------------------------------------

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
SECCOMP_ALLOW, SECCOMP_ERRNO, SECCOMP_KILL = 0x7FFF0000, 0x00050000, 0x80000000
SYSTEM_CALLS: dict[str, dict[str, int]] = {
    "x86_64": {"ftruncate": 77, "openat": 257, "fallocate": 285, "renameat2": 316, "memfd_create": 319},
    "aarch64": {"ftruncate": 46, "openat": 56, "fallocate": 47, "renameat2": 276, "memfd_create": 279},
}


def forbid(call: str, error: int = 0) -> None:
    """From now on a system call fails with `error`; or whoever makes it is killed, at once and at that point."""
    number = SYSTEM_CALLS[platform.machine()][call]
    answer = SECCOMP_ERRNO | error if error else SECCOMP_KILL
    load, jump_if_equal, leave = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 0), (jump_if_equal, 0, 1, number), (leave, 0, 0, answer), (leave, 0, 0, SECCOMP_ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(code)))
    _libc("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3)
    _libc("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program)


# ---- limits -------------------------------------------------------------------------------------------------


@contextmanager
def limited(what: int, value: int) -> Iterator[None]:
    """A soft limit for a while."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def descriptors() -> list[str]:
    """What each open descriptor denotes, but for the one that looks."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return sorted(found)


def tree(folder: Path) -> list[tuple[str, int, int, int, int]]:
    """All below a folder: path, mode, owner, group, size."""
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_uid, status.st_gid, status.st_size))
    return found


# ---- what somebody may try ------------------------------------------------------------------------------------

FILES = ["admin", "data", "lock"]

Refusals = dict[str, tuple[str, str]]


def attempts(name: str = "r", **options: Any) -> Refusals:
    """What comes of each way to a region: the kind of error and its text."""
    folder = {"dir": options["dir"]} if "dir" in options else {}
    calls: dict[str, Callable[[], Any]] = {
        "open": lambda: shmq.open(name, size="1MiB", **options),
        "create": lambda: Region.create(name, size="1MiB", **options),
        "attach": lambda: Region.attach(name, **options),
        "list": lambda: shmq.list_regions(**folder),
        "unlink": lambda: shmq.unlink(name, **folder),
    }
    found = {}
    for what, call in calls.items():
        try:
            found[what] = ("nothing", repr(call()))
        except (shmq.ShmqError, ValueError) as error:
            found[what] = (type(error).__name__, str(error))
    return found


def check(found: Refusals, kind: str, *parts: str, ways: tuple[str, ...] = ()) -> None:
    """Every way (or each of `ways`) is refused with that error, and its text has those parts."""
    assert found.keys() >= set(ways)
    for what in ways or found:
        assert found[what][0] == kind, f"{what}: {found[what]}"
        for part in parts:
            assert part in found[what][1], f"{what}: {part!r} is not in {found[what][1]!r}"


def tamper(place: Path, pid: int, descriptor: int) -> list[str]:
    """All that a stranger may try on a region in use, its directory and its owner's /proc; returns what was allowed."""
    region = place / "r"
    libc = ctypes.CDLL(None, use_errno=True)

    def lock(how: int) -> None:
        with open(region / "lock", "r+b") as file:
            fcntl.lockf(file, how | fcntl.LOCK_NB)

    def watch(path: Path) -> None:
        end = libc.inotify_init()
        if libc.inotify_add_watch(end, bytes(path), 0xFFF) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    calls: dict[str, Callable[[], Any]] = {
        "list the directory": lambda: os.listdir(place),
        "list the region": lambda: os.listdir(region),
        "read-lock": lambda: lock(fcntl.LOCK_SH),
        "write-lock": lambda: lock(fcntl.LOCK_EX),
        "make a region beside it": lambda: (place / "s").mkdir(),
        "make a .new- directory": lambda: (place / ".new-x").mkdir(),
        "put a FIFO beside it": lambda: os.mkfifo(place / "f"),
        "put a file into it": lambda: (region / "extra").touch(),
        "rename the region": lambda: region.rename(place / "away"),
        "take the region out": lambda: region.rename(SHM / f"taken-{os.getpid()}"),
        "rename the directory": lambda: place.rename(SHM / f"taken-{os.getpid()}"),
        "remove the region": lambda: shutil.rmtree(region),
        "remove the directory": lambda: os.rmdir(place),
        "replace the directory": lambda: _replace(place),
        "chmod the directory": lambda: place.chmod(0o777),
        "chown the directory": lambda: os.chown(place, NOBODY, NOBODY),
        "watch the directory": lambda: watch(place),
        "read the owner's descriptor": lambda: os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDONLY),
        "write the owner's descriptor": lambda: os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR),
        "read the owner's memory": lambda: os.open(f"/proc/{pid}/mem", os.O_RDONLY),
        "list the owner's mappings": lambda: os.listdir(f"/proc/{pid}/map_files"),
        "kill the owner": lambda: os.kill(pid, signal.SIGKILL),
    }
    for name in FILES:
        path = region / name
        calls |= {
            f"stat {name}": path.stat,
            f"read {name}": path.read_bytes,
            f"write {name}": lambda path=path: os.open(path, os.O_WRONLY),
            f"O_PATH {name}": lambda path=path: os.open(path, os.O_PATH),
            f"truncate {name}": lambda path=path: os.truncate(path, 0),
            f"unlink {name}": path.unlink,
            f"rename {name}": lambda path=path: path.rename(path.with_name("x")),
            f"replace {name}": lambda path=path: _replace(path),
            f"link {name}": lambda path=path: os.link(path, SHM / f"link-{os.getpid()}"),
            f"chmod {name}": lambda path=path: path.chmod(0o666),
            f"watch {name}": lambda path=path: watch(path),
        }
    allowed = []
    for what, call in calls.items():
        try:
            call()
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                allowed.append(f"{what}: {error}")
        else:
            allowed.append(what)
    return allowed


def _replace(path: Path) -> None:
    other = SHM / f"other-{os.getpid()}"
    other.mkdir()
    try:
        os.rename(other, path)
    finally:
        os.rmdir(other)


def attempts_at(folder: str, mode: int = 0o600, name: str = "r") -> Refusals:
    """The same, in that directory."""
    return attempts(name, dir=folder, mode=mode)


def open_and_use(folder: str, name: str, **options: Any) -> list[bytes]:
    """Open a region, send a message and receive it."""
    with small(name, dir=folder, **options) as region:
        region.sender("q").send(b"hello")
        return drain(region.receiver("q"))
