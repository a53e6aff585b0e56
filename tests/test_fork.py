# SPDX-License-Identifier: MIT
"""Forked children: handles attach anew, what the parent held stays the parent's, and its arrays are copies."""

import contextlib
import ctypes
import gc
import mmap
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart import SHM, Elsewhere, can_mount, own_shm
from helpers import Partner, Thread, drain, is_asleep, small, until

import shmq
from shmq import Region

# Python 3.12 and later warn of forks beside threads, which is what several tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

TIMEOUT = 20


def fork(function: Callable[..., Any], *arguments: Any, how: Callable[[], int] = os.fork) -> int:
    """Run a function in a forked child, which ends by os._exit. Returns the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = how()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TIMEOUT)
            function(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


def reap(pid: int) -> None:
    """Wait for a child's end; a failure in it fails the test."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_child(function: Callable[..., Any], *arguments: Any, how: Callable[[], int] = os.fork) -> None:
    """Run a function in a forked child; what it raises fails the test."""
    reap(fork(function, *arguments, how=how))


def mapped(path: str) -> int:
    """How many mappings this process has of files whose name contains `path`."""
    return sum(path in line for line in Path("/proc/self/maps").read_text().splitlines())


def ended(pid: int) -> bool:
    """Has the process ended, reaped or not?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid: int) -> None:
    """SIGKILL, and wait for the end; not for the ends of pipes that its children have, too."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))


def pids(region: Region) -> list[int]:
    return [info.pid for info in region.processes()]


@pytest.fixture(params=["named", "anonymous"])
def region(request: pytest.FixtureRequest) -> Iterator[Region]:
    """A region of either kind."""
    with small() if request.param == "named" else shmq.open(None, "1MiB") as region:
        yield region


# ---- handles --------------------------------------------------------------------------------------------------


def test_every_handle_works_in_a_child_as_a_process_of_its_own(region: Region) -> None:
    parent = os.getpid()
    tx, rx = region.sender("q", depth=7), region.receiver("q", shared=True)
    publisher, subscriber = region.publisher("t"), region.subscriber("t", depth=3, overflow="drop_oldest")
    inbox, peer = region.inbox, region.peer(region.process)
    tx.send(b"from the parent")

    def child() -> None:
        with rx.receive(0) as message:
            assert bytes(message) == b"from the parent"
            assert message.sender == f"pid-{parent}"
        assert pids(region) == [parent, os.getpid()]
        assert region.process == f"pid-{os.getpid()}"
        tx.send(b"from the child")
        assert tx.qsize() == 1
        assert tx.depth == 7
        peer.send(b"to the parent's inbox")
        assert publisher.subscribers == 1
        assert subscriber.qsize() == 0  # it subscribes from here on …
        assert publisher.send(b"to both") == 2
        with subscriber.receive(0) as message:
            assert bytes(message) == b"to both"
        region.peer(region.process).send(b"to my own")
        with inbox.receive(0) as message:  # … and its inbox is its own
            assert bytes(message) == b"to my own"
        assert drain(region.receiver("mine")) == []
        region.delete_queue("mine")
        assert region.recover() == 0
        assert region.stats()["queues"]["q"]["queued"] == 1
        assert not region.closed
        assert not tx.closed

    in_child(child)
    assert drain(subscriber) == [b"to both"]
    assert drain(inbox) == [b"to the parent's inbox"]
    with rx.receive(0) as message:
        assert bytes(message) == b"from the child"
        assert message.sender is None or message.sender.startswith("pid-")  # it has died, perhaps not yet missed
    region.recover()
    assert pids(region) == [parent]


def test_a_child_of_a_child_works_too(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")

    def grandchild() -> None:
        tx.send(b"from the grandchild")

    def child() -> None:
        tx.send(b"from the child")
        in_child(grandchild)
        in_child(grandchild)

    in_child(child)
    assert drain(rx) == [b"from the child", b"from the grandchild", b"from the grandchild"]


def test_handles_that_pickle_do_so_in_a_child(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")
    if region.name is None:
        return

    def child() -> None:
        with pickle.loads(pickle.dumps(tx)).region as other:
            other.sender("q").send(b"x")
            assert len(region.processes()) == 3

    in_child(child)
    assert drain(rx) == [b"x"]


def test_a_single_receiver_is_its_parents_until_that_gives_the_queue_up(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"x")
    here, there = multiprocessing.Pipe()

    def child() -> None:
        for _ in range(2):
            with pytest.raises(shmq.QueueInUseError, match=f"pid {os.getppid()}"):
                rx.receive(0)
        there.send("refused")
        there.recv()
        with rx.receive(0) as message:
            assert bytes(message) == b"x"

    pid = fork(child)
    assert here.recv() == "refused"
    rx.close()
    here.send("closed")
    reap(pid)
    for end in (here, there):
        end.close()


def test_what_was_closed_stays_closed_in_a_child() -> None:
    with small() as region:
        tx, other = region.sender("q"), Region.attach("r")
        tx.close()
        rx = other.receiver("q")
        other.close()

        def child() -> None:
            for use in (lambda: tx.send(b"x"), tx.qsize, other.stats, rx.receive, lambda: other.sender("q")):
                with pytest.raises(ValueError, match="has been closed"):
                    use()
            assert other.closed
            assert tx.closed
            assert rx.closed
            assert len(region.processes()) == 2

        in_child(child)


def test_a_queue_or_a_peer_that_went_since_the_fork_is_told(region: Region) -> None:
    other = (
        Region.attach("r", process="other") if region.name else Region.from_filenos(region.filenos(), process="other")
    )
    tx, rx, peer = region.sender("q"), region.receiver("q", shared=True), region.peer("other")
    here, there = multiprocessing.Pipe()

    def child() -> None:
        there.recv()
        for use in (lambda: tx.send(b"x"), tx.qsize, rx.receive):
            with pytest.raises(shmq.QueueClosedError, match="deleted"):
                use()
        with pytest.raises(shmq.PeerDied, match="other"):
            peer.send(b"x")

    pid = fork(child)
    region.delete_queue("q")
    region.sender("q")  # another queue of that name
    other.close()
    here.send("gone")
    reap(pid)
    for end in (here, there):
        end.close()


def test_a_child_of_a_receive_only_process_is_receive_only(region: Region) -> None:
    tx = region.sender("q")
    receiver = small(access="receive") if region.name else Region.from_filenos(region.filenos("receive"))
    rx = receiver.receiver("q")
    tx.send(b"x" * 10)
    rx.close()

    def child() -> None:
        with rx_again() as message:
            assert bytes(message) == b"x" * 10
        assert receiver.access == "receive"
        with pytest.raises(shmq.RegionPermissionError):
            receiver.sender("q")

    def rx_again() -> shmq.Message:
        return receiver.receiver("q").receive(0)

    in_child(child)
    receiver.close()


def test_a_child_of_a_sole_writer_only_receives() -> None:
    with shmq.open(None, "1MiB", sole_writer=True) as region:
        tx, rx, publisher = region.sender("q"), region.receiver("q", shared=True), region.publisher("t")
        tx.send(b"x")

        def child() -> None:
            assert drain(rx) == [b"x"]
            assert region.access == "receive"
            for use in (lambda: tx.send(b"y"), lambda: tx.loan(1), lambda: publisher.send(b"y")):
                with pytest.raises(shmq.RegionPermissionError, match="no sole_writer"):
                    use()

        in_child(child)
        tx.send(b"the parent still can")
        assert drain(rx) == [b"the parent still can"]


# ---- what the parent holds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("attached", [False, True], ids=["before the child attaches", "after"])
def test_a_parents_loans_and_messages_are_none_of_the_childs(region: Region, attached: bool) -> None:
    tx, rx, other = region.sender("q", depth=9), region.receiver("q", shared=True), region.sender("other")
    subscriber = region.subscriber("t")
    for data in (b"first", b"second"):
        tx.send(data)
    region.publisher("t").send(b"published")
    messages, loan = [rx.receive(0), rx.receive(0), subscriber.receive(0)], tx.loan(4)
    message = messages[0]
    uses: list[Callable[[], Any]] = [
        lambda: bytes(message),
        lambda: message.array,
        lambda: message.memoryview,
        lambda: message[0],
        lambda: message.label,
        lambda: message.sender,
        lambda: message.copy(),
        lambda: message.edit(),
        lambda: message.forward(other),
        message.__enter__,
        lambda: bytes(messages[2]),
        lambda: messages[2].edit(),
        loan.send,
        loan.send_nowait,
        loan.__enter__,
        lambda: loan.__exit__(None, None, None),
        lambda: other.send(loan),
        lambda: loan.array,
        lambda: loan.memoryview,
        lambda: loan[0],
        lambda: loan.__setitem__(0, 1),
        lambda: len(loan),
        lambda: loan.offset,
    ]

    def child() -> None:
        nonlocal message, loan
        if attached:
            assert len(region.processes()) == 2
        for use in uses:
            with pytest.raises(shmq.ForkedHandleError, match=r"belongs to the parent .* work here, too"):
                use()
        assert repr(message) == "<shmq.Message of the parent>"
        assert repr(loan) == "<shmq.Loan of the parent>"
        uses.clear()
        loan.discard()
        message.release()
        messages[1].__exit__(None, None, None)
        messages.clear()
        del message, loan
        gc.collect()
        tx.send(b"from the child")

    in_child(child)
    region.recover()
    assert region.stats()["queued"] == 1
    assert [(info.loans, info.held) for info in region.processes()] == [(1, 3)]
    assert [bytes(one) for one in messages] == [b"first", b"second", b"published"]
    loan[:] = b"mine"
    loan.send()
    for one in messages:
        one.release()
    assert drain(rx) == [b"from the child", b"mine"]


def test_no_region_that_a_child_opens_makes_what_its_parent_holds_usable(region: Region) -> None:
    """What a handle looks at is not used again for another attachment while the handle may live."""
    tx, rx = region.sender("q"), region.receiver("q", shared=True)
    tx.send(b"held")
    message, loan = rx.receive(0), tx.loan(4)

    def child() -> None:
        assert len(region.processes()) == 2  # it attaches, and lets go of what was its parent's
        regions = [shmq.open(None, "1MiB") for _ in range(5)]
        for use in (lambda: bytes(message), lambda: message.array, message.edit, lambda: loan.array, loan.send):
            with pytest.raises(shmq.ForkedHandleError):
                use()
        message.release()
        loan.discard()
        for other in regions:
            other.close()

    in_child(child)
    region.recover()
    assert [(info.loans, info.held) for info in region.processes()] == [(1, 1)]
    assert bytes(message) == b"held"
    loan[:] = b"mine"
    loan.send()
    assert drain(rx) == [b"mine"]


def test_inherited_arrays_are_copies(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(np.arange(5000))
    message, loan = rx.receive(0), tx.loan((100, 100), "u2")
    received, lent, view = message.array, loan.array, memoryview(loan)
    lent[:] = 7

    def child() -> None:
        assert received.sum() == 12497500
        assert not received.flags.writeable
        assert (lent == 7).all()
        lent[50:] = 9
        view[0, 0] = 1
        assert (lent[50:] == 9).all()
        assert lent[0, 0] == 1
        address = received.ctypes.data
        ctypes.memset(address, 0xFF, 8)  # whatever writes: it reaches nobody else
        assert received[0] == -1
        tx.send(b"the child attaches")
        assert (lent[50:] == 9).all()
        assert received[1:].sum() == 12497500

    in_child(child)
    assert (lent == 7).all()
    assert received.sum() == 12497500
    loan.discard()
    assert drain(rx) == [b"the child attaches"]


def test_inherited_arrays_outlive_the_parent_and_the_region(start: Callable[..., Any], tmp_path: Path) -> None:
    partner = Partner(start, leave_a_child_behind, str(tmp_path / "said"))
    child = partner.hear()
    kill(partner.pid)
    assert shmq.list_regions() == []
    os.kill(child, signal.SIGUSR1)
    said = until(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text())
    assert said == "12497500 12497500 RegionGoneError"
    until(lambda: ended(child))


def leave_a_child_behind(link: Connection, path: str) -> None:
    """Fork a child that waits for a signal, and be killed."""
    region = small()
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(np.arange(5000))
    array = rx.receive(0).array

    def child() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        told.send(os.getpid())
        signal.sigwait({signal.SIGUSR1})
        said = [array.sum()]
        try:
            tx.send(b"x")
        except shmq.ShmqError as error:
            said += [array.sum(), type(error).__name__]
        region.close()
        Path(path + ".part").write_text(" ".join(map(str, said)))
        os.rename(path + ".part", path)

    hear, told = multiprocessing.Pipe()
    fork(child)
    link.send(hear.recv())
    link.recv()


# ---- lives ------------------------------------------------------------------------------------------------------


def work_for_a_parent_that_dies(link: Connection) -> None:
    """Hold a message and die; a child goes on with it."""
    region = small()
    tx, rx = region.sender("back"), region.receiver("q", shared=True)
    held = rx.receive(20)
    assert bytes(held) == b"work"
    tx.send(b"held")
    here, there = multiprocessing.Pipe()

    def child() -> None:
        tx.send(b"child")  # attached while the parent lives
        there.send(os.getpid())
        with rx.receive(20) as message:
            assert message.redelivered
            tx.send(b"done: " + bytes(message))
        region.close()

    fork(child)
    link.send(here.recv())
    link.recv()


def test_a_child_that_outlives_its_parent_gets_what_that_held(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(b"work")
        back = region.receiver("back")
        partner = Partner(start, work_for_a_parent_that_dies)
        partner.hear()
        assert sorted(bytes(back.receive(20)) for _ in range(2)) == [b"child", b"held"]
        assert len(region.processes()) == 3
        kill(partner.pid)
        assert bytes(back.receive(20)) == b"done: work"
        until(lambda: region.recover() or len(region.processes()) == 1)


def test_a_region_that_ended_or_was_replaced_is_not_attached_to_by_mistake() -> None:
    here, there = multiprocessing.Pipe()
    region = small()
    tx = region.sender("q")

    def child() -> None:
        for _ in range(2):
            there.recv()
            for use in (lambda: tx.send(b"x"), region.stats, tx.qsize):
                with pytest.raises(shmq.RegionGoneError, match="'r', which this process has from"):
                    use()
            there.send("refused")
        region.close()
        tx.close()
        assert mapped("/r/") == 0

    pid = fork(child)
    region.close()
    here.send("ended")
    assert here.recv() == "refused"
    with small() as another:
        here.send("replaced")
        assert here.recv() == "refused"
        assert len(another.processes()) == 1
    reap(pid)
    for end in (here, there):
        end.close()


def use_while_another_directory_is_given() -> tuple[list[bytes], list[str], list[str]]:
    """A child uses its parent's handle, and is the last to leave."""
    own_shm()
    here, there = multiprocessing.Pipe()
    region = small()
    tx, rx = region.sender("q"), region.receiver("q")
    os.environ["SHMQ_DIR"] = "/dev/shm/elsewhere"

    def child() -> None:
        tx.send(b"x")
        there.send("sent")
        there.recv()
        region.close()

    pid = fork(child)
    here.recv()
    found = drain(rx)
    region.close()
    names = os.listdir(SHM)
    here.send("left")
    reap(pid)
    return found, names, os.listdir(SHM)


@can_mount
def test_a_child_finds_its_parents_region_wherever_new_ones_are_made_by_now() -> None:
    with contextlib.closing(Elsewhere()) as run:
        assert run(use_while_another_directory_is_given) == ([b"x"], [f"shmq-{os.geteuid()}"], [])


def test_an_anonymous_region_lives_on_in_a_child() -> None:
    here, there = multiprocessing.Pipe()
    region = shmq.open(None, "1MiB")
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"kept")

    def child() -> None:
        there.recv()
        assert pids(region) == [os.getpid()]
        with rx.receive(0) as message:
            assert bytes(message) == b"kept"

    pid = fork(child)
    region.close()
    here.send("closed")
    reap(pid)
    for end in (here, there):
        end.close()


def test_a_child_leaves_what_it_does_not_use(region: Region) -> None:
    """Its memory and descriptors go with the last handle; with a view, when the view does."""
    tx, rx = region.sender("q"), region.receiver("q")
    name = "/r/" if region.name else "memfd:shmq"
    tx.send(b"x" * 100)
    view = rx.receive(0).memoryview

    def descriptors() -> int:
        return sum(name in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if exists(fd))

    def exists(fd: str) -> bool:
        return os.path.islink(f"/proc/self/fd/{fd}")

    def closes() -> None:
        nonlocal view
        assert mapped(name) == 3  # of the admin segment two: what is reserved, and holes
        region.close()
        assert mapped(name) == 3  # the view's
        assert bytes(view) == b"x" * 100
        view.release()
        assert mapped(name) == 0
        assert descriptors() == 0

    def attaches() -> None:
        nonlocal view
        before = descriptors()
        tx.send(b"y")
        assert mapped(name) == 7  # both segments twice, and the lock's page
        assert bytes(view) == b"x" * 100
        view.release()
        assert mapped(name) == 4
        assert descriptors() == before

    in_child(closes)
    in_child(attaches)
    assert bytes(view) == b"x" * 100
    view.release()
    assert drain(region.receiver("q") if rx.closed else rx) == [b"y"]


def test_a_child_that_closes_disturbs_nobody(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"x")

    def child() -> None:
        for handle in (tx, rx, region):
            handle.close()

    in_child(child)
    assert pids(region) == [os.getpid()]
    with pytest.raises(shmq.QueueInUseError):
        region.receiver("q")  # still claimed
    assert drain(rx) == [b"x"]


EXITS = {
    "an exit": "sys.exit(0)",
    "an end": "",
    "an exception": "sys.excepthook = lambda *error: None; raise KeyError",
    "os._exit": "sys.stdout.flush(); os._exit(0)",
}


@pytest.mark.parametrize("how", EXITS)
@pytest.mark.parametrize("used", [False, True], ids=["without use", "with use"])
def test_a_child_leaves_at_its_exit_however_it_exits(python: Callable[..., str], how: str, used: bool) -> None:
    code = f"""
import os, shmq, sys
region = shmq.open("r", "1MiB")
tx, rx = region.sender("q"), region.receiver("q")
tx.send(b"held"); message = rx.receive(); view = message.array; loan = tx.loan(5)
child = os.fork()
if child == 0:
    {"tx.send(b'x'); mine = tx.loan(3)" if used else "pass"}
    {EXITS[how]}
else:
    os.waitpid(child, 0)
    assert region.recover() == {int(used and how == "os._exit")}
    assert len(region.processes()) == 1 and bytes(message) == b"held"
    assert [info.loans for info in region.processes()] == [1]
    assert rx.qsize() == {int(used)}
    while rx.qsize():
        rx.receive().release()
"""
    assert python("-c", code) == ""
    assert shmq.list_regions() == []


def test_os_exit_leaves_what_the_next_to_come_sweeps(python: Callable[..., str], shmq_dir: Path) -> None:
    code = """
import os, shmq
region = shmq.open("r", "1MiB")
tx, rx = region.sender("q"), region.receiver("q")
tx.send(b"x"); message = rx.receive(); view = message.array; loan = tx.loan(5).array
os._exit(0)
"""
    assert python("-c", code) == ""
    assert (shmq_dir / "r").exists()
    assert shmq.list_regions() == []
    assert not (shmq_dir / "r").exists()


# ---- moments -----------------------------------------------------------------------------------------------------


def test_a_fork_inside_with_blocks(region: Region) -> None:
    """Leaving them in the child sends and gives back nothing; the parent's go on."""
    tx, rx = region.sender("q"), region.receiver("q", shared=True)
    tx.send(b"held")
    parent = os.getpid()

    def work() -> None:
        with tx, rx, rx.receive(0) as message, tx.loan(4) as loan:
            loan[:] = b"once"
            child = os.fork()
            if child:
                reap(child)
                assert bytes(message) == b"held"
                assert not tx.closed

    status = 1
    try:
        work()
        status = 2
    except shmq.ForkedHandleError as error:
        status = 0 if "the loan (label 0) belongs to the parent" in str(error) and tx.closed and rx.closed else 1
    finally:
        if os.getpid() != parent:
            os._exit(status)
    assert status == 2
    assert drain(region.receiver("q", shared=True)) == [b"once"]


def test_a_region_forked_in_its_with_block_is_left_by_both(python: Callable[..., str]) -> None:
    code = """
import os, shmq
with shmq.open("r", "1MiB") as region, region.sender("q") as tx, region.receiver("q", shared=True) as rx:
    child = os.fork()
    tx.send(b"x")
    rx.receive(20).release()
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""
    assert python("-c", code) == ""
    assert shmq.list_regions() == []


def test_a_fork_while_another_thread_waits(region: Region) -> None:
    tx, rx, back = region.sender("q"), region.receiver("q", shared=True), region.receiver("back")
    waiting = Thread(rx.receive)
    until(waiting.is_asleep)

    def child() -> None:
        region.sender("back").send(b"hello")
        assert rx.qsize() == 0
        with pytest.raises(shmq.Empty):
            rx.receive(0)
        region.close()
        name = "/r/" if region.name else "memfd:shmq"
        assert mapped(name) == 0  # the thread that waited is not here

    in_child(child)
    assert drain(back) == [b"hello"]
    tx.send(b"to the thread")
    assert bytes(waiting.result()) == b"to the thread"


def test_forks_at_any_moment_of_the_work_of_other_threads(region: Region) -> None:
    stop = threading.Event()
    tx = region.sender("answers")
    rx = region.receiver("answers")

    def work(number: int) -> int:
        there, here = region.sender(f"work-{number}", depth=4), region.receiver(f"work-{number}", shared=True)
        done = 0
        while not stop.is_set():
            with there.loan(600) as loan:
                loan.array[:] = done % 256
            with here.receive(20) as message:
                assert (message.array == done % 256).all()
            done += 1
            if done % 50 == 0:
                region.recover()
        return done

    def child(number: int) -> None:
        tx.send(b"%d" % number)
        with region.sender(f"work-{number % 3}").loan(9) as loan:
            loan.discard()

    threads = [Thread(work, number) for number in range(3)]
    children = []
    for number in range(60):
        children.append(fork(child, number))
        if len(children) == 4:
            reap(children.pop(0))
    for pid in children:
        reap(pid)
    stop.set()
    assert all(thread.result() > 0 for thread in threads)
    assert sorted(int(data) for data in drain(rx)) == list(range(60))
    region.recover()
    assert pids(region) == [os.getpid()]
    assert region.stats()["queued"] == 0


@pytest.mark.parametrize("wait", ["receive", "send", "send a loan", "loan", "publish"])
def test_a_fork_by_a_signal_in_the_middle_of_a_wait(wait: str) -> None:
    """The wait goes on in the parent; the child's ends, and its handles work."""
    with small() as region:
        rx, full = region.receiver("empty", shared=True), region.sender("full", depth=1)
        publisher, subscriber = region.publisher("t"), region.subscriber("t", depth=1)
        drained = region.receiver("full")
        children: list[int] = []
        parent = os.getpid()

        def in_the_middle(*_: Any) -> None:
            pid = os.fork()
            if pid:
                children.append(pid)
                reap(pid)  # this process stands still meanwhile: it would miss what the child gave back
                threading.Thread(target=end_the_wait, daemon=True).start()
            else:
                signal.alarm(TIMEOUT)
                region.sender("children").send(b"from the handler")

        def end_the_wait() -> None:
            if wait == "receive":
                region.sender("empty").send(b"x")
            elif wait == "publish":
                drain(subscriber)
            else:
                drain(drained)

        if wait == "publish":
            publisher.send(b"x")
            call: Callable[[], Any] = lambda: publisher.send(b"y")  # noqa: E731
        elif wait == "loan":
            splits_the_other_half = full.loan(1)
            full.send(bytes(region.size // 2))
            call = lambda: full.loan(region.size // 2).discard()  # noqa: E731
        elif wait == "receive":
            call = rx.receive
        else:
            full.send(b"x")
            call = full.loan(3).send if wait == "send a loan" else lambda: full.send(b"y")
        signal.signal(signal.SIGUSR1, in_the_middle)

        def signal_it() -> None:
            until(lambda: is_asleep(parent))
            os.kill(parent, signal.SIGUSR1)

        Thread(signal_it)
        status = 1
        try:
            call()
            status = 2
        except shmq.ForkedHandleError as error:
            if os.getpid() != parent:
                with pytest.raises(shmq.Empty):
                    rx.receive(0)
                region.sender("children").send(b"from the wait")
                status = 0 if "a wait that was interrupted belongs to the parent" in str(error) else 3
        except BaseException:
            traceback.print_exc()
        finally:
            if os.getpid() != parent:
                sys.stderr.flush()
                os._exit(status)
        assert status == 2
        assert len(children) == 1
        assert drain(region.receiver("children")) == [b"from the handler", b"from the wait"]
        for one in (drained, subscriber, region.receiver("empty", shared=True)):
            drain(one)
        if wait == "loan":
            splits_the_other_half.discard()
        del call
        gc.collect()
        region.recover()
        assert [(info.loans, info.held) for info in region.processes()] == [(0, 0)]


def libc(name: str) -> Callable[[], int]:
    """A way to fork that Python does not know of."""
    function: Callable[[], int] = getattr(ctypes.PyDLL(None), name)
    return function


@pytest.mark.parametrize("name", ["fork", "_Fork"])
def test_forks_that_python_does_not_know_of(region: Region, name: str) -> None:
    """fork runs the core's handlers, not Python's; _Fork, of glibc 2.34 and later, runs none."""
    if name == "_Fork" and not hasattr(ctypes.PyDLL(None), "_Fork"):
        pytest.skip("this C library has no _Fork")
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(b"held")
    message = rx.receive(0)
    parent = os.getpid()

    def child() -> None:
        with pytest.raises(shmq.ForkedHandleError):
            bytes(message)
        message.release()
        tx.send(b"from the child")
        assert pids(region) == [parent, os.getpid()]

    in_child(child, how=libc(name))
    assert bytes(message) == b"held"
    assert drain(rx) == [b"from the child"]


def test_threads_of_a_child_that_use_its_handles_at_once_attach_once(region: Region) -> None:
    tx, rx = region.sender("q"), region.receiver("q")

    def child() -> None:
        barrier = threading.Barrier(8)

        def use() -> None:
            barrier.wait()
            tx.send(b"x")

        for thread in [Thread(use) for _ in range(8)]:
            thread.result()
        assert len(region.processes()) == 2

    in_child(child)
    assert drain(rx) == [b"x"] * 8


def test_threads_of_a_child_that_use_its_subscriber_at_once_subscribe_once(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = region.publisher("t"), region.subscriber("t")
    checked = shmq.options.queue_depth

    def child() -> None:
        both = threading.Barrier(2)

        def depth_of_both(depth: int) -> int:
            both.wait(TIMEOUT)  # both threads are about to subscribe
            return checked(depth)

        monkeypatch.setattr(shmq.options, "queue_depth", depth_of_both)
        for thread in [Thread(subscriber.qsize) for _ in range(2)]:
            assert thread.result() == 0
        assert publisher.subscribers == 2
        assert publisher.send(b"x") == 2
        assert drain(subscriber) == [b"x"]
        subscriber.close()
        assert publisher.subscribers == 1

    in_child(child)
    assert drain(subscriber) == [b"x"]


def test_a_subscriber_closed_while_another_thread_of_a_child_begins_to_use_it_stays_closed(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, subscriber = region.publisher("t"), region.subscriber("t")
    checked = shmq.options.queue_depth

    def child() -> None:
        def depth_after_a_close(depth: int) -> int:
            subscriber.close()
            return checked(depth)

        monkeypatch.setattr(shmq.options, "queue_depth", depth_after_a_close)
        with pytest.raises(ValueError, match="receiver of topic 't' has been closed"):
            subscriber.qsize()
        assert subscriber.closed
        assert publisher.subscribers == 1

    in_child(child)
    assert publisher.send(b"x") == 1
    assert drain(subscriber) == [b"x"]


@pytest.mark.timeout(300)
def test_a_region_closed_while_another_thread_of_a_child_attaches_is_closed() -> None:
    slow = [small(f"slow-{number}", persist=True) for number in range(200)]  # whoever opens a region looks at each
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        met = mmap.mmap(-1, 1)

        def child() -> None:
            sending = Thread(tx.send, b"x")
            until(  # without the interpreter's lock: it attaches
                lambda: not sending.is_alive() or all(sending.is_running() for _ in range(5))
            )
            region.close()
            try:
                sending.result()
            except ValueError as error:
                met[0] = "closed" in str(error)
            assert mapped("/r/") == 0

        for _ in range(100):  # where a busy machine let it send first, nothing has been tried
            in_child(child)
            region.recover()
            assert pids(region) == [os.getpid()]
            assert drain(rx) == ([] if met[0] else [b"x"])
            if met[0]:
                break
        else:
            pytest.fail("no close came in the middle of an attach")
    for other in slow:
        other.close()
        shmq.unlink(str(other.name))


# A table of fork handlers that cannot grow, while `full` is 1.
FULL_TABLE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>

int full = 1;

int __register_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void), void *whose)
{
    int (*real)(void (*)(void), void (*)(void), void (*)(void), void *);

    if (full)
        return ENOMEM;
    *(void **)&real = dlsym(RTLD_NEXT, "__register_atfork");
    return real(before, in_parent, in_child, whose);
}
"""

OPEN_WITH_A_FULL_TABLE = """
import ctypes, errno, os, shmq

for call in (lambda: shmq.open("r"), lambda: shmq.open(None), shmq.list_regions, lambda: shmq.unlink("r")):
    try:
        call()
    except shmq.RegionFileError as error:
        assert error.errno == errno.ENOMEM, error
        assert "pthread_atfork failed" in str(error), error
    else:
        raise AssertionError("not refused")
assert os.listdir(os.environ["SHMQ_DIR"]) == []
ctypes.c_int.in_dll(ctypes.CDLL(None), "full").value = 0
with shmq.open("r") as region, region.sender("q").loan(4) as loan:
    view = loan.memoryview
    view[:] = b"ours"
    if os.fork() == 0:
        view[:] = b"mine"
        os._exit(0)
    assert os.wait()[1] == 0
    assert bytes(view) == b"ours"
    view.release()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "__register_atfork"), reason="another C library than glibc")
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_who_cannot_watch_forks_opens_nothing_and_tries_again(
    python: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full.c").write_text(FULL_TABLE)
    library = str(tmp_path / "full.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "full.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", library)
    python("-c", OPEN_WITH_A_FULL_TABLE)
