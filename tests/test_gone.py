# SPDX-License-Identifier: MIT
"""Promise 7: files of a live region are cut, emptied, removed or replaced, and nobody gets a signal.

Whoever could get one does so in a process of its own.
"""

import contextlib
import ctypes
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, environment
from helpers import AT_ONCE, Partner, Thread, is_asleep, small, until

import shmq
from shmq import Region, explain

BLOCK = 1 << 16
CUTS = [0, 4096, "middle"]
FILES = ["admin", "data"]
TYPED = (shmq.ShmqError, ValueError, MemoryError, OSError)
KEEP_SIZE, PUNCH_HOLE = 1, 2


def place(file: str = "", name: str = "r") -> Path:
    """Where a region, or a file of it, lies."""
    return Path(os.environ["SHMQ_DIR"]) / name / file


def cut(file: str, to: int | str) -> tuple[int, int]:
    """Truncate a file of region r, "middle": to half of what is in use; its size after and before."""
    status = place(file).stat()
    after = min(status.st_size, status.st_blocks * 512) // 2 if to == "middle" else int(to)
    os.truncate(place(file), after)
    return after, status.st_size


def punch(file: str, offset: int, nbytes: int) -> None:
    """Take the pages out of a file, whose size stays."""
    with place(file).open("r+b") as opened:
        span = ctypes.c_long(offset), ctypes.c_long(nbytes)
        assert ctypes.CDLL(None).fallocate(opened.fileno(), KEEP_SIZE | PUNCH_HOLE, *span) == 0


def error_of(call: Callable[[], Any]) -> str:
    """What the call raises; nothing where it goes on."""
    try:
        call()
    except TYPED as error:
        return f"{type(error).__name__}: {error}"
    return ""


def tells_the_cut(text: str, file: str, sizes: tuple[int, int]) -> bool:
    """Does the error say what happened, where, and what to do?"""
    after, before = sizes
    parts = [str(place(file)), f"has {after} bytes, expected {before}", "truncated by force", "'r'", "shmq.unlink"]
    return text.startswith("RegionGoneError") and all(part in text for part in [*parts, "RemoveIPC", "logout"])


# ---- in one process ------------------------------------------------------------------------------------------


def uses_of(region: Region, tx: shmq.Sender, rx: shmq.Receiver, message: Any, loan: Any) -> list[Callable[[], Any]]:
    """Everything that can be done with a region and its handles."""
    return [
        *(lambda: tx.send(b"x"), lambda: tx.send(np.zeros(3)), lambda: tx.send_nowait(b"x"), lambda: tx.loan(1)),
        *(lambda: tx.loan((2, 3), "f4"), lambda: tx.send_many([b"x"]), tx.qsize, tx.shutdown, tx.__enter__),
        *(rx.receive, lambda: rx.receive(1), rx.receive_nowait, lambda: rx.receive_many(3), lambda: next(rx), rx.qsize),
        *(rx.__enter__, lambda: region.sender("new"), lambda: region.receiver("new"), lambda: region.delete_queue("q")),
        *(region.processes, region.stats, region.recover, region.__enter__, lambda: region.process),
        *(lambda: region.publisher("t"), lambda: region.subscriber("t"), lambda: region.inbox),
        *(lambda: region.peer("nobody"), lambda: message.edit(), lambda: message.edit(tx), lambda: message.forward(tx)),
        *(lambda: bytes(message), lambda: message.array, lambda: message.memoryview, lambda: len(message)),
        *(lambda: message[0], lambda: message[0:2], lambda: message.label, lambda: message.seq, lambda: message.sender),
        *(lambda: message.offset, message.copy, message.tobytes, message.__enter__),
        *(loan.send, lambda: loan.array, lambda: loan[0], lambda: loan.__setitem__(0, 1), loan.__enter__),
        *(lambda: loan.__setitem__(slice(0, 2), b"ab"), lambda: len(loan), lambda: loan.memoryview),
    ]


def lose(file: str, to: int | str) -> None:
    region = small()
    publisher, subscriber = region.publisher("topic"), region.subscriber("topic")
    publisher.send(b"published")
    tx, rx = region.sender("q", depth=20), region.receiver("q")
    for _ in range(12):
        tx.send(np.full(BLOCK, 7, "u1"))
    messages = rx.receive_many(12)
    views = [message.array for message in messages]
    offsets = [message.offset for message in messages]
    loan = tx.loan(100)
    loan[:] = b"x" * 100
    sizes = cut(file, to)
    kept = [BLOCK if file == "admin" else min(max(sizes[0] - offset, 0), BLOCK) for offset in offsets]

    def check_views() -> None:
        for view, good in zip(views, kept, strict=True):
            assert (view[:good] == 7).all()
            assert not view[good:].any()

    check_views()
    texts = [text for _ in range(5) if (text := error_of(lambda: tx.send(bytes(BLOCK))))]  # soon it needs what is gone
    assert texts
    assert all(tells_the_cut(text, file, sizes) for text in texts)
    more = [lambda: publisher.send(b"x"), publisher.qsize, subscriber.receive, lambda: subscriber.dropped]
    for use in [*uses_of(region, tx, rx, messages[0], loan), *more]:
        assert tells_the_cut(error_of(use), file, sizes)
    assert "gone" in repr(region) + repr(messages[0]) + repr(loan)
    assert not region.closed
    for message in messages:
        message.release()
    loan.discard()
    for end in (tx, rx, publisher, subscriber):
        end.close()
    check_views()
    region.close()
    assert region.closed
    assert "closed" in error_of(lambda: tx.send(b"x"))
    check_views()
    views.clear()
    del message, messages
    gc.collect()
    assert not place().exists()
    with small() as new:
        new.sender("q").send(b"as good as ever")
        assert bytes(new.receiver("q").receive(0)) == b"as good as ever"


@pytest.mark.parametrize("to", CUTS)
@pytest.mark.parametrize("file", FILES)
def test_a_cut_file_is_an_error_at_the_next_operation_and_views_read_zeros(
    start: Callable[..., Any], file: str, to: int | str
) -> None:
    start(lose, file, to).result()


def lose_one_of_two() -> None:
    with small() as region, small("other") as other:
        tx, rx = other.sender("q"), other.receiver("q")
        lost = region.sender("q").loan(BLOCK)
        view = lost.array
        cut("data", 0)
        assert not view.any()
        for number in range(100):
            tx.send(bytes([number]))
            assert bytes(rx.receive(0)) == bytes([number])
            assert error_of(lambda: region.sender("q")).startswith("RegionGoneError")
        assert {info.name for info in shmq.list_regions()} == {"r", "other"}
        with small("third"):
            pass
        text = error_of(small)  # it is still there, for the others who are attached
        assert text.startswith("RegionCorruptError")
        assert "file size is 0, the bound is 1048576" in text
        del view, lost
    with small() as region:
        assert len(region.processes()) == 1


def test_other_regions_of_the_process_are_not_concerned(start: Callable[..., Any]) -> None:
    start(lose_one_of_two).result()


def lose_what_is_only_read() -> None:
    with small() as region:
        reader = Region.attach("r", access="receive")
        region.sender("q").send(np.full(BLOCK, 7, "u1"))
        view = reader.receiver("q").receive(0).array
        sizes = cut("data", 0)
        assert not view.any()
        assert not view.flags.writeable
        assert tells_the_cut(error_of(lambda: reader.receiver("other")), "data", sizes)
        assert tells_the_cut(error_of(lambda: region.sender("other")), "data", sizes)
        del view
        reader.close()


def test_who_only_receives_reads_zeros_too(start: Callable[..., Any]) -> None:
    start(lose_what_is_only_read).result()


def lose_what_has_no_name() -> None:
    region = Region.create(None, size="1MiB")
    region.sender("q").send(np.full(BLOCK, 7, "u1"))
    view = region.receiver("q").receive(0).array
    for number in region.filenos()[:2]:  # a memfd can be sealed against this …
        assert error_of(lambda number=number: os.truncate(f"/proc/self/fd/{number}", 0)).startswith("PermissionError")
    assert (view == 7).all()
    span = ctypes.c_long(0), ctypes.c_long(1 << 20)  # … but not against this, by those who may write
    assert ctypes.CDLL(None).fallocate(region.filenos()[1], KEEP_SIZE | PUNCH_HOLE, *span) == 0
    assert not view.any()
    text = error_of(lambda: region.sender("other"))
    assert text.startswith("RegionGoneError")
    assert "hole" in text
    assert "anonymous" in text or "the region" in text
    assert "unlink" not in text
    assert "RemoveIPC" not in text
    del view
    region.close()


def test_an_anonymous_region_cannot_be_cut_and_a_hole_in_it_is_told(start: Callable[..., Any]) -> None:
    start(lose_what_has_no_name).result()


def close_an_old_one(file: str) -> None:
    old = small()
    old.sender("q")
    with place(file).open("r+b") as opened:
        shmq.unlink("r")
        with small() as new:
            new.sender("q").send(b"mine")
            opened.truncate(0)
            text = error_of(lambda: old.sender("another"))
            assert text.startswith("RegionGoneError")
            assert "has no name any more" in text
            assert "unlink" not in text
            old.close()
            assert [info.name for info in shmq.list_regions()] == ["r"]
            assert bytes(new.receiver("q").receive(0)) == b"mine"


@pytest.mark.parametrize("file", FILES)
def test_closing_one_that_is_lost_leaves_a_newer_one_of_its_name_alone(start: Callable[..., Any], file: str) -> None:
    start(close_an_old_one, file).result()


def test_the_text_for_too_many_regions_names_the_limit() -> None:
    facts = {"code": -112, "what": "guard", "expected": 2048, "path": "", "errno": 24}
    error = explain.region_error(facts, {"name": "r"})
    assert isinstance(error, shmq.RegistryFullError)
    assert "2048 mappings" in str(error)


# ---- others at work, others asleep -----------------------------------------------------------------------------


def work(link: Connection, role: str) -> str:
    """Send or receive until it fails, with a view in hand; how it failed."""
    with contextlib.suppress(ResourceWarning), small() as region:
        own = region.sender("own").loan(BLOCK)
        own.array[:] = 7
        tx, rx = region.sender("q", depth=20), region.receiver("q", shared=True)
        payload = np.full(BLOCK, 7, "u1")
        rounds = 0
        link.send("there")
        link.recv()  # so that nobody takes all memory before the other has its loan

        def send() -> None:
            tx.send(payload, timeout=20)

        def receive() -> None:
            with rx.receive(20) as message:
                assert int(message.array.sum()) <= 7 * BLOCK

        def go_on() -> None:
            nonlocal rounds
            view = own.array
            while True:
                send() if role == "send" else receive()
                assert int(view.sum()) <= 7 * BLOCK
                rounds += 1
                if rounds == 30:
                    link.send("at work")

        return error_of(go_on)


@pytest.mark.parametrize("to", CUTS)
@pytest.mark.parametrize("file", FILES)
def test_who_is_at_work_when_a_file_is_cut_gets_an_error(start: Callable[..., Any], file: str, to: int | str) -> None:
    children = [Partner(start, work, role) for role in ("send", "receive")]
    for child in children:
        child.hear()
    for child in children:
        child.say("begin")
    for child in children:
        assert child.hear() == "at work"
    sizes = cut(file, to)
    for child in children:
        text = child.result()
        assert tells_the_cut(text, file, sizes), text
    assert not place().exists()


def wait_in(link: Connection, what: str) -> tuple[str, float]:
    """Wait for ever; how and when that ended."""
    with small() as region:
        full = region.sender("full", depth=1)
        full.send(b"x")
        calls = {
            "receive": region.receiver("empty").receive,
            "spin": region.receiver("nothing", spin=1e6).receive,
            "send": lambda: full.send(b"y"),
            "loan": lambda: full.loan(region.size),
        }
        link.send("about to wait")
        return error_of(calls[what]), time.monotonic()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("to", CUTS)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("what", ["receive", "send", "loan", "spin"])
def test_a_wait_ends_when_a_file_is_cut(start: Callable[..., Any], what: str, file: str, to: int | str) -> None:
    with small() as region:
        loan = region.sender("q").loan(1)  # what is waited for
        child = Partner(start, wait_in, what)
        child.hear()
        if what != "spin":
            until(lambda: is_asleep(child.pid))
        sizes = cut(file, to)
        when = time.monotonic()
        text, ended = child.result()
        assert tells_the_cut(text, file, sizes), text
        assert ended - when < AT_ONCE
        loan.discard()


def wait_in_threads() -> None:
    with small() as region:
        threads = [Thread(region.receiver(name).receive) for name in ("a", "b", "c")]
        for thread in threads:
            until(thread.is_asleep)
        cut("admin", 0)
        for thread in threads:
            assert error_of(thread.result).startswith("RegionGoneError")
    assert not place().exists()


def test_waits_in_threads_end_when_a_file_is_cut(start: Callable[..., Any]) -> None:
    start(wait_in_threads).result()


# ---- holes ---------------------------------------------------------------------------------------------------

OPERATIONS: list[Callable[..., Any]] = [
    lambda region, tx, rx: tx.send(b"x" * 5000, timeout=0),
    lambda region, tx, rx: tx.send_many([b"x", np.arange(900)], timeout=0.001),
    lambda region, tx, rx: tx.loan((30, 40), "f8", timeout=0).send(timeout=0),
    lambda region, tx, rx: rx.receive(0).array.sum(),
    lambda region, tx, rx: [bytes(message) for message in rx.receive_many(10, 0.001)],
    lambda region, tx, rx: repr(rx.receive(0).sender),
    lambda region, tx, rx: (tx.qsize(), rx.qsize()),
    lambda region, tx, rx: region.processes(),
    lambda region, tx, rx: region.stats(),
    lambda region, tx, rx: region.recover(),
    lambda region, tx, rx: shmq.list_regions(),
    lambda region, tx, rx: Region.attach("r").close(),
    lambda region, tx, rx: region.sender(f"n{random.randrange(9)}"),
    lambda region, tx, rx: region.delete_queue("q"),
    lambda region, tx, rx: tx.shutdown(immediate=True),
]
USUAL = 12  # of them; the others look at the files, or end the queue


def operate(region: Region, tx: shmq.Sender, rx: shmq.Receiver) -> str:
    """Do anything; what it raised."""
    operation = random.choice(OPERATIONS[: USUAL if random.random() < 0.95 else None])
    return error_of(lambda: operation(region, tx, rx))


def open_all() -> tuple[Region, shmq.Sender, shmq.Receiver]:
    region = small(max_processes=8, max_queues=16, granule=4096)
    return region, region.sender("q", depth=8), region.receiver("q", shared=True)


def use_what_is_punched(seed: int) -> int:
    """Two attachments work while pages are taken from under them; how many operations went on all the same."""
    random.seed(seed)
    good = 0
    for _ in range(40):
        both = [open_all() for _ in range(2)]
        for _ in range(60):
            if random.random() < 0.2:
                file = random.choice(FILES)
                pages = max(1, place(file).stat().st_blocks // 8)
                punch(file, random.randrange(pages) * 4096, random.choice([1, 1, 1, 2, pages]) * 4096)
            good += operate(*random.choice(both)) == ""
        for region, _, _ in both:
            with contextlib.suppress(ResourceWarning):
                region.close()
        shmq.unlink("r", missing_ok=True)
    return good


@pytest.mark.parametrize("seed", range(2))
def test_whatever_pages_are_taken_nobody_dies_or_hangs(start: Callable[..., Any], seed: int) -> None:
    assert start(use_what_is_punched, seed).result() > 500


def use_until_told(link: Connection, seed: int) -> int:
    """Work, with new handles where the old ones are of no use any more; how many operations went on."""
    random.seed(seed)
    good = 0
    handles = open_all()
    link.send("at work")
    while not link.poll():
        error = operate(*handles)
        good += error == ""
        if error and not error.startswith(("Full", "Empty")):
            with contextlib.suppress(ResourceWarning):
                handles[0].close()
            with contextlib.suppress(*TYPED):  # where others hold what is left, it cannot be opened
                handles = open_all()
    with contextlib.suppress(ResourceWarning):
        handles[0].close()
    return good


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_peers_at_work_survive_the_loss_of_every_page(start: Callable[..., Any]) -> None:
    with small(max_processes=8, max_queues=16, granule=4096):
        children = [Partner(start, use_until_told, seed) for seed in range(2)]
        for child in children:
            child.hear()
        for file in FILES:
            for page in range(place(file).stat().st_blocks // 8):
                with contextlib.suppress(FileNotFoundError):  # the last of a region that is lost takes it away
                    punch(file, page * 4096, 4096)
        for child in children:
            child.say("enough")
        for child in children:
            assert child.result() > 0
    shmq.unlink("r", missing_ok=True)


def test_a_hole_is_told_while_it_is_there() -> None:
    with small() as region:
        punch("data", 8192, 4096)
        with pytest.raises(shmq.RegionGoneError) as caught:
            region.receiver("q").receive(0.2)
        for part in (str(place("data")), f"{(1 << 20) - 4096} bytes of memory", "1048576 or more", "hole", "RemoveIPC"):
            assert part in str(caught.value)
    with small() as region:
        region.sender("q")
        punch("admin", 0, place("admin").stat().st_blocks * 512)
        with pytest.raises(shmq.RegionGoneError, match="hole"):
            region.sender("q")
    shmq.unlink("r", missing_ok=True)


# ---- removed and replaced --------------------------------------------------------------------------------------


def remove_the_files() -> None:
    for file in place().iterdir():
        file.unlink()


def replace_the_files() -> None:
    for file in list(place().iterdir()):
        other = place().parent / "other"
        other.write_bytes(bytes(4096))
        other.chmod(0o600)
        other.replace(file)


def replace_by_another_region() -> None:
    small("other", persist=True, size="2MiB").close()
    for file in list(place(name="other").iterdir()):
        file.replace(place(file.name))
    place(name="other").rmdir()


REMOVALS: dict[str, Callable[[], Any]] = {
    "unlink it": lambda: shmq.unlink("r"),
    "remove its files": remove_the_files,
    "remove its directory": lambda: shutil.rmtree(place()),
    "remove the directory of all": lambda: shutil.rmtree(place().parent),
    "rename its directory": lambda: place().rename(place(name="elsewhere")),
}
REPLACEMENTS: dict[str, Callable[[], Any]] = {
    "replace its files": replace_the_files,
    "replace them by another region's": replace_by_another_region,
}


def echo(link: Connection) -> int:
    with small() as region:
        tx, rx = region.sender("back"), region.receiver("there")
        link.send("ready")
        count = 0
        for message in rx:
            with message:
                tx.send(message)
            count += 1
        return count


def exchange(region: Region, rounds: int) -> None:
    tx, rx = region.sender("there"), region.receiver("back")
    for number in range(rounds):
        tx.send(np.full(5000, number, "u1"))
        with rx.receive(20) as message:
            assert (message.array == number).all()
    rx.close()


@pytest.mark.parametrize("deed", [*REMOVALS, *REPLACEMENTS])
def test_who_is_attached_goes_on_whatever_becomes_of_the_names(start: Callable[..., Any], deed: str) -> None:
    with small() as region:
        child = Partner(start, echo)
        child.hear()
        exchange(region, 30)
        (REMOVALS | REPLACEMENTS)[deed]()
        exchange(region, 30)
        region.sender("new-queue", depth=5000).send(b"x")
        assert len(region.processes()) == 2
        region.receiver("new-queue").receive(0).release()
        if deed in REMOVALS:
            with small(process="newcomer") as new:
                assert [info.name for info in new.processes()] == ["newcomer"]
                new.sender("q").send(b"another region")
                exchange(region, 30)
                region.sender("there").shutdown()
                assert child.result() == 90
                region.close()
                assert [info.name for info in shmq.list_regions()] == ["r"]
                assert bytes(new.receiver("q").receive(0)) == b"another region"
        else:
            refused = error_of(small)
            assert not refused or refused.startswith("Region")
            region.sender("there").shutdown()
            assert child.result() == 60
            region.close()
    shutil.rmtree(place(name="elsewhere"), ignore_errors=True)
    shutil.rmtree(place(), ignore_errors=True)


# ---- other handlers of the signal --------------------------------------------------------------------------------

LOSS = """
import os, shmq
region = shmq.open("r", size="1MiB")
tx = region.sender("q")
loan = tx.loan(100_000)
loan.array[:] = 7
os.truncate(os.environ["SHMQ_DIR"] + "/r/data", 4096)
AFTER
assert not loan.array[5000:].any()
try:
    tx.send(b"x")
except shmq.RegionGoneError:
    print("told")
"""

ALIEN = """
import ctypes, mmap, os, tempfile
with tempfile.TemporaryFile(dir="/dev/shm") as file:
    file.truncate(4096)
    alien = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
    alien[0]
"""

ENABLE = "import faulthandler; faulthandler.enable(); "


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        (ENABLE, ""),
        ("", ENABLE + "shmq.open('s', size='1MiB').close()"),  # it took the signal, the next open takes it back
        (ENABLE, "faulthandler.disable(); shmq.list_regions()"),
        ("import signal; signal.signal(signal.SIGBUS, signal.SIG_IGN)", ""),
    ],
)
def test_the_guard_works_beside_others_who_want_the_signal(python: Callable[..., str], before: str, after: str) -> None:
    assert python("-c", before + LOSS.replace("AFTER", after)) == "told\n"  # and nothing is left at exit
    assert not place().exists()


@pytest.mark.parametrize("option", [(), ("-X", "faulthandler"), ("-X", "dev", "-W", "ignore::ResourceWarning")])
def test_an_interpreter_that_exits_with_a_lost_region_exits_well(python: Callable[..., str], option: Any) -> None:
    code = "import os, shmq; region = shmq.open('r', size='1MiB'); region.sender('q').send(b'x')\n"
    code += "for file in ('admin', 'data'): os.truncate(os.environ['SHMQ_DIR'] + '/r/' + file, 0)\n"
    assert python(*option, "-c", code) == ""
    assert not place().exists()


@pytest.mark.parametrize("before", [True, False])
def test_a_fault_that_is_not_ours_gets_the_traceback_of_faulthandler(before: bool) -> None:
    code = (ENABLE if before else "") + LOSS.replace("AFTER", "") + ("" if before else ENABLE) + ALIEN
    command = [sys.executable, "-c", f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {code}"]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.stdout == "told\n"
    assert "Bus error" in done.stderr
    assert 'File "<string>"' in done.stderr
    assert done.returncode == -signal.SIGBUS
    assert [info.attached for info in shmq.list_regions()] in ([], [0])
    shmq.unlink("r", missing_ok=True)


def test_a_fault_that_is_not_ours_ends_the_process_as_ever() -> None:
    code = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {LOSS.replace('AFTER', '')}{ALIEN}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGBUS, "told\n", "")
    shmq.unlink("r", missing_ok=True)


FORK = """
import os, shmq
region = shmq.open("r", size="1MiB")
region.sender("q").send(bytes([7]) * 100_000)
view = region.receiver("q").receive().array
ready, go = os.pipe()
child = os.fork()
if child == 0:
    os.read(ready, 1)
    assert not view.any()
    del view
    region.close()
    with shmq.open("s", size="1MiB") as own:
        own.sender("q").send(b"x")
    os._exit(0)
os.truncate(os.environ["SHMQ_DIR"] + "/r/data", 0)
os.write(go, b"!")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert not view.any()
"""


def test_a_forked_child_reads_zeros_too(python: Callable[..., str]) -> None:
    assert python("-c", FORK) == ""
    assert not place().exists()
