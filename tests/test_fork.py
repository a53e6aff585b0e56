# SPDX-License-Identifier: MIT
"""Forked children: handles attach anew, what the parent held stays the parent's, and its arrays are copies."""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart import SHM, Elsewhere, can_mount, own_shm
from forks import ended, fork, in_child, kill, mapped, pids, reap
from helpers import Partner, drain, small, until

import shmq
from shmq import Region

# Python 3.12 and later warn of forks beside threads, which is what several tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


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
