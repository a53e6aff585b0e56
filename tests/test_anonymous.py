# SPDX-License-Identifier: MIT
"""Regions without a name: descriptors handed on by spawn, forkserver, socket and by hand; and what pickles at all."""

import gc
import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apart import forked
from helpers import Partner, Thread, as_root, drain, small, until

import shmq
from shmq import Region

MIB = 1 << 20


def anonymous(**options: Any) -> Region:
    """A small region without a name."""
    return shmq.open(None, size="1MiB", **options)


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Any:
    resource_tracker.ensure_running()  # multiprocessing's own, which stays
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() == before


# ---- one process ---------------------------------------------------------------------------------------------


def test_a_region_without_a_name_is_like_any_other(shmq_dir: Path) -> None:
    with anonymous(process="alpha") as region:
        assert region.name is None
        assert region.size == MIB
        assert region.access == "both"
        assert repr(region) == f"<shmq.Region anonymous, {MIB} bytes>"
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(np.arange(6).reshape(2, 3))
        with rx.receive(0) as message:
            assert message.array.tolist() == [[0, 1, 2], [3, 4, 5]]
            assert message.sender == "alpha"
        assert [info.name for info in region.processes()] == ["alpha"]
        assert list(region.stats()["queues"]) == ["q"]
        assert shmq.list_regions() == []
        assert list(shmq_dir.iterdir()) == []
    assert region.closed
    assert repr(region) == f"<shmq.Region anonymous, {MIB} bytes, closed>"


def test_two_regions_without_a_name_are_two_regions() -> None:
    with anonymous() as first, Region.create(None, "1MiB") as second:
        first.sender("q").send(b"x")
        assert second.stats()["queued"] == 0
        assert not set(first.filenos()) & set(second.filenos())


def test_descriptors_denote_the_region_and_stay_the_callers() -> None:
    with anonymous(process="alpha") as region:
        filenos = region.filenos()
        copies = tuple(os.dup(fileno) for fileno in filenos)
        with Region.from_filenos(list(copies), process="beta") as other:
            assert other.name is None
            assert [info.name for info in region.processes()] == ["alpha", "beta"]
            for copy in copies:
                os.close(copy)  # nothing of the region's own
            other.sender("q").send(b"hello")
            assert drain(region.receiver("q")) == [b"hello"]
        assert region.filenos() == filenos
        for fileno in filenos:
            assert not os.get_inheritable(fileno)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["admin", "data", "lock"])
def test_what_took_the_number_of_a_descriptor_is_handed_to_nobody(tmp_path: Path, which: int) -> None:
    """A program that closes what it has not opened, and opens files of its own."""
    file = ["admin", "data", "lock"][which]
    with anonymous() as region, (tmp_path / "secret").open("w+b") as secret:
        tx, number = region.sender("q"), region.filenos()[which]
        os.dup2(secret.fileno(), number)
        for access in (None, "both", "receive"):
            with pytest.raises(shmq.RegionFileError, match=f"closed the region's own descriptor.*: 'memfd:{file}'"):
                region.filenos(access)  # type: ignore[arg-type]
        tx.send(b"all else goes on")
        assert drain(region.receiver("q")) == [b"all else goes on"]

        def use() -> str:
            with pytest.raises(shmq.RegionFileError, match="used after a fork"):
                tx.send(b"x")
            return "told"

        assert forked(use) == "told"
    assert os.fstat(number).st_ino == os.stat(tmp_path / "secret").st_ino  # the program's, not the region's to close
    os.close(number)


def test_a_region_lasts_as_long_as_its_descriptors() -> None:
    region = anonymous()
    region.sender("q").send(b"still here")
    copies = [os.dup(fileno) for fileno in region.filenos()]
    region.close()
    with Region.from_filenos(copies) as region:
        assert drain(region.receiver("q")) == [b"still here"]
    for copy in copies:
        os.close(copy)


def test_what_an_anonymous_region_cannot_have_is_refused(tmp_path: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"persist": True}, "persist is True and name is None"),
        ({"mode": 0o660}, "mode is 0o660 and name is None"),
        ({"dir": tmp_path}, "dir is .* and name is None"),
        ({"sole_writer": True, "access": "receive"}, "nobody could write"),
        ({"access": "send"}, "access is 'send'"),
        ({"size": 5}, "at least 1048576"),
    ]
    for options, text in refused:
        with pytest.raises(ValueError, match=text):
            shmq.open(None, **options)
    with pytest.raises(ValueError, match="sole_writer with name 'r'"):
        small(sole_writer=True)
    with pytest.raises(TypeError, match="from_filenos"):
        Region.attach(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        shmq.unlink(None)  # type: ignore[arg-type]


def test_more_than_the_machine_has_is_refused_with_both_numbers() -> None:
    with pytest.raises(shmq.RegionSpaceError, match=r"anonymous region needs 6\d TiB|anonymous region needs .* left"):
        shmq.open(None, size=1 << 45, granule=1 << 20)


def test_a_region_with_a_name_has_no_descriptors_to_hand_on() -> None:
    with small() as region, pytest.raises(ValueError, match="attach to it by its name"):
        region.filenos()


def test_descriptors_that_are_not_those_of_one_region_are_refused(tmp_path: Path) -> None:
    with anonymous() as region, anonymous() as other, (tmp_path / "file").open("w+b") as file:
        admin, data, lock = region.filenos()
        wrong: list[tuple[list[int], str]] = [
            ([file.fileno(), data, lock], "memfd:admin: seals: found 0x0, expected 0x7"),
            ([admin, data, file.fileno()], "memfd:lock: seals"),
            ([data, admin, lock], "memfd:admin: a file of another kind"),
            ([admin, other.filenos()[1], lock], "memfd:data: a file of another region"),
            ([admin, data, other.filenos()[2]], "memfd:lock: a file of another region"),
        ]
        for filenos, text in wrong:
            with pytest.raises(shmq.RegionSecurityError, match=text):
                Region.from_filenos(filenos)
        with pytest.raises(shmq.RegionFileError, match="Bad file descriptor"):
            Region.from_filenos([999_999] * 3)
        for bad in ([1, 2], [1, 2, 3, 4], [-1, 1, 2], [1 << 40, 1, 2]):
            with pytest.raises(ValueError, match="three numbers"):
                Region.from_filenos(bad)
        with pytest.raises(TypeError):
            Region.from_filenos(["a", "b", "c"])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="access is 'send'"):
            Region.from_filenos(region.filenos(), access="send")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="access is ''"):
            region.filenos("")  # type: ignore[arg-type]
        assert len(region.processes()) == 1


def test_errors_say_that_the_region_has_no_name() -> None:
    region = anonymous(max_queues=1, max_processes=1)
    tx = region.sender("q", depth=1)
    with pytest.raises(ValueError, match="largest block of the anonymous region has"):
        tx.loan(2 * MIB)
    whole = tx.loan(MIB)
    with pytest.raises(shmq.OutOfBlocks, match="of the anonymous region are free"):
        tx.loan(MIB, timeout=0)
    whole.discard()
    with pytest.raises(shmq.RegistryFullError, match="queues of the anonymous region"):
        region.sender("another")
    region.publisher("t")
    with pytest.raises(shmq.RegistryFullError, match="all 1 topics of the anonymous region"):
        region.publisher("another")
    with pytest.raises(shmq.RegistryFullError, match="1 process slots of the anonymous region"):
        Region.from_filenos(region.filenos())
    with pytest.raises(ValueError, match="the anonymous region has no queue 'w'"):
        region.delete_queue("w")
    region.close()
    for use in (region.stats, region.filenos, lambda: pickle.dumps(region), lambda: tx.send(b"x")):
        with pytest.raises(ValueError, match="the anonymous region has been closed"):
            use()


def test_closing_with_messages_left_warns_nobody() -> None:
    """Somebody may still hold the descriptors."""
    region = anonymous()
    region.sender("q").send(b"x")
    region.close()


# ---- handed on by multiprocessing ----------------------------------------------------------------------------


def echo(link: Any, region: Region, tx: shmq.Sender, rx: shmq.Receiver) -> None:
    """Send back what comes, until nothing comes."""
    assert tx.region is region
    assert rx.region is region
    assert region.name is None
    link.send([info.pid for info in region.processes()])
    for message in rx:
        with message:
            tx.send(bytes(message)[::-1], label=message.label)
    link.send((os.getpid(), region.access))


def converse(context: Any) -> None:
    """Start a process with a region, a sender and a receiver, and talk with it through them."""
    with anonymous() as region:
        there, back = region.sender("there"), region.receiver("back")
        with region.receiver("there", shared=True) as theirs, region.sender("back") as answer:
            here, link = context.Pipe()
            process = context.Process(target=echo, args=(link, region, answer, theirs))
            process.start()
            link.close()
        assert here.recv() == [os.getpid(), process.pid]
        for number in range(50):
            there.send(b"%d" % number, label=number)
            with back.receive(20) as message:
                assert (bytes(message), message.label) == ((b"%d" % number)[::-1], number)
        there.shutdown()
        assert here.recv() == (process.pid, "both")
        process.join(20)
        assert process.exitcode == 0
        process.close()
        here.close()
        region.recover()  # the forkserver's processes end by os._exit
        assert len(region.processes()) == 1


def test_a_region_and_its_handles_go_with_a_spawned_process() -> None:
    converse(multiprocessing.get_context("spawn"))


def test_a_region_and_its_handles_go_with_a_process_of_the_forkserver(python: Callable[..., str]) -> None:
    code = """
import multiprocessing, sys
sys.path.insert(0, "tests")
import test_anonymous
if __name__ == "__main__":
    test_anonymous.converse(multiprocessing.get_context("forkserver"))
"""
    assert python("-c", code) == ""


def test_an_anonymous_region_pickles_nowhere_else() -> None:
    with anonymous() as region:
        for handle in (region, region.sender("q"), region.receiver("q")):
            with pytest.raises(TypeError, match=r"cannot pickle the anonymous region here: .*filenos"):
                pickle.dumps(handle)


def hold_a_message(link: Any, region: Region) -> None:
    with region.receiver("q").receive(20) as message:
        link.send(bytes(message))
        link.recv()


def test_what_a_killed_process_held_comes_back(start: Callable[..., Any]) -> None:
    with anonymous() as region:
        tx = region.sender("q")
        tx.send(b"again")
        partner = Partner(start, hold_a_message, region)
        assert partner.hear() == b"again"
        partner.kill()
        with region.receiver("q").receive(20) as message:
            assert bytes(message) == b"again"
            assert message.redelivered
        assert len(region.processes()) == 1


def test_the_creator_may_be_killed(start: Callable[..., Any], tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        creator = Partner(start, create_and_hand_on, path)
        with server.accept()[0] as connection:
            _, filenos, _, _ = socket.recv_fds(connection, 1, 3)
    with Region.from_filenos(filenos) as region:
        for fileno in filenos:
            os.close(fileno)
        creator.kill()
        assert drain(region.receiver("q")) == [b"from the creator"]
        until(lambda: region.recover() or len(region.processes()) == 1)
        with anonymous() as another:  # neither is in the other's way
            assert len(another.processes()) == 1
        assert region.sender("q").loan(region.size, timeout=0).nbytes == region.size


# ---- handed on by hand ---------------------------------------------------------------------------------------


def create_and_hand_on(link: Any, path: str) -> None:
    region = anonymous(process="creator")
    region.sender("q").send(b"from the creator")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"-"], region.filenos())
        link.recv()


def test_descriptors_travel_over_a_socket_as_the_docstring_says(start: Callable[..., Any], tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        creator = Partner(start, create_and_hand_on, path)
        with server.accept()[0] as connection:
            _, filenos, _, _ = socket.recv_fds(connection, 1, 3)
    region = Region.from_filenos(filenos)
    for fileno in filenos:
        os.close(fileno)
    assert [info.name for info in region.processes()] == ["creator", f"pid-{os.getpid()}"]
    assert drain(region.receiver("q")) == [b"from the creator"]
    creator.say("enough")
    creator.result()
    until(lambda: region.recover() or len(region.processes()) == 1)
    region.close()


@as_root
def test_a_process_of_another_user_can_use_what_it_is_handed(python: Callable[..., str]) -> None:
    code = """
import os, shmq
region = shmq.open(None, "1MiB")
region.sender("q").send(b"to nobody")
filenos = region.filenos()
child = os.fork()
if child == 0:
    os.setresuid(65534, 65534, 65534)
    with shmq.Region.from_filenos(filenos) as mine, mine.receiver("q").receive(0) as message:
        assert bytes(message) == b"to nobody"
        mine.sender("back").send(b"thanks")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert bytes(region.receiver("back").receive(0)) == b"thanks"
"""
    assert python("-W", "ignore::DeprecationWarning", "-c", code) == ""


# ---- what pickles ---------------------------------------------------------------------------------------------


def test_a_region_with_a_name_pickles_as_the_region_that_it_is(shmq_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small() as region:
        data = pickle.dumps(region)
        monkeypatch.setenv("SHMQ_DIR", "/nowhere")  # it is this directory's, not the environment's
        with pickle.loads(data) as other:
            assert (other.name, other.size, other.access) == ("r", MIB, "both")
            assert len(region.processes()) == 2
            region.sender("q").send(b"x")
            assert drain(other.receiver("q")) == [b"x"]
    with pytest.raises(shmq.RegionNotFoundError):
        pickle.loads(data)
    monkeypatch.setenv("SHMQ_DIR", str(shmq_dir))
    with small() as another:
        with pytest.raises(shmq.RegionGoneError, match="another one has its name"):
            pickle.loads(data)
        assert len(another.processes()) == 1


def test_senders_and_receivers_pickle_as_region_and_queue() -> None:
    with small() as region:
        tx = region.sender("q", depth=3)
        rx = region.receiver("q", shared=True, spin=0.5)
        other, tx2, rx2 = pickle.loads(pickle.dumps((region, tx, rx)))
        assert tx2.region is other
        assert rx2.region is other
        assert (tx2.queue, tx2.depth, rx2.queue, rx2.depth, rx2.shared) == ("q", 3, "q", 3, True)
        tx2.send(b"x")
        assert drain(rx2) == [b"x"]
        other.close()
        for handle in (tx2, rx2):
            with pytest.raises(ValueError, match="closed"):
                pickle.dumps(handle)
        peer, publisher, subscriber = pickle.loads(
            pickle.dumps(
                (
                    region.peer(region.process),
                    region.publisher("t"),
                    region.subscriber("t", depth=5, overflow="drop_oldest"),
                )
            )
        )
        peer.send(b"to the inbox")
        assert drain(region.inbox) == [b"to the inbox"]
        assert publisher.send(b"to one") == 1
        assert drain(subscriber) == [b"to one"]
        assert (subscriber.queue, subscriber.depth) == ("t", 5)
        for number in range(7):
            assert publisher.send(bytes([number])) == 1
        assert subscriber.dropped == 2
        with pytest.raises(TypeError, match="inbox of process"):
            pickle.dumps(region.inbox)
        policy = pickle.loads(pickle.dumps(region.receiver("p", overflow="drop_newest", shared=True)))
        assert policy.region.stats()["queues"]["p"]["overflow"] == "drop_newest"
        single = region.receiver("alone")
        with pytest.raises(shmq.QueueInUseError, match="alone"):
            pickle.loads(pickle.dumps(single))
        data = pickle.dumps(single)
        single.close()
        assert pickle.loads(data).queue == "alone"


def test_each_unpickling_attaches_and_dropping_it_leaves() -> None:
    with small() as region:
        data = pickle.dumps(region.sender("q"))
        handles = [pickle.loads(data) for _ in range(3)]
        assert len(region.processes()) == 4
        handles.clear()
        assert len(region.processes()) == 1


# ---- receiving only --------------------------------------------------------------------------------------------


def pair(kind: str, **options: Any) -> tuple[Region, Region]:
    """A region, and the same with access to receive only."""
    if kind == "named":
        return small(**options), small(access="receive")
    region = anonymous(**options)
    return region, Region.from_filenos(region.filenos(), access="receive")


@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_who_only_receives_gets_messages_and_can_send_none(kind: str) -> None:
    region, receiver = pair(kind)
    assert (region.access, receiver.access) == ("both", "receive")
    tx, rx = region.sender("q"), receiver.receiver("q")
    for number in range(200):
        tx.send(np.full(700, number, "u1"))
        with rx.receive(0) as message:
            assert (message.array == number).all()
    tx.send(b"not to be edited")
    with rx.receive(0) as message:
        for use in (
            lambda: receiver.sender("q"),
            lambda: receiver.publisher("t"),
            lambda: receiver.peer(region.process),
            message.edit,
        ):
            with pytest.raises(shmq.RegionPermissionError, match=r'open with access="receive", where the kernel'):
                use()
        assert bytes(message) == b"not to be edited"
    assert receiver.stats()["queued"] == 0
    receiver.delete_queue("q")
    for one in (receiver, region):
        one.close()


@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_whoever_comes_first_may_be_who_only_receives(kind: str) -> None:
    if kind == "named":
        receiver = small(access="receive", prefault=True)
        region = small()
    else:
        receiver = anonymous(access="receive", prefault=True)
        region = Region.from_filenos(receiver.filenos("both"), access="both")
    assert receiver.access == "receive"
    region.sender("q").send(b"x")
    assert drain(receiver.receiver("q")) == [b"x"]
    for one in (receiver, region):
        one.close()


def test_access_to_receive_can_be_handed_on_and_not_be_made_more() -> None:
    with anonymous() as region:
        filenos = region.filenos("receive")
        assert region.filenos("receive") == filenos
        assert filenos != region.filenos()
        with pytest.raises(shmq.RegionPermissionError, match="descriptors that may write"):
            Region.from_filenos(filenos, access="both")
        with Region.from_filenos(filenos) as receiver:
            assert receiver.access == "receive"
            with pytest.raises(shmq.RegionPermissionError):
                receiver.filenos("both")
            with Region.from_filenos(receiver.filenos()) as third:
                assert third.access == "receive"
        assert len(region.processes()) == 1


def tell_access(region: Region) -> str:
    return region.access


def test_access_goes_with_a_pickled_region(start: Callable[..., Any]) -> None:
    region, receiver = pair("anonymous")
    assert start(tell_access, receiver).result() == "receive"
    assert start(tell_access, region).result() == "both"
    receiver.close()
    region.close()
    region, receiver = pair("named")
    with pickle.loads(pickle.dumps(receiver)) as other:
        assert other.access == "receive"
    receiver.close()
    region.close()


WRITE = """
import ctypes, errno, shmq, sys
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[1] == "named":
    region, receiver = shmq.open("r", "1MiB"), shmq.open("r", access="receive")
elif sys.argv[1] == "anonymous":
    region = shmq.open(None, "1MiB")
    receiver = shmq.Region.from_filenos(region.filenos("receive"))
else:
    region = shmq.open(None, "1MiB", sole_writer=True)
    receiver = shmq.Region.from_filenos(region.filenos())
region.sender("q").send(bytes(4096))
array = receiver.receiver("q").receive(0).array
address = array.ctypes.data
if sys.argv[2] == "mprotect":
    assert libc.mprotect(ctypes.c_void_p(address), 4096, 3) == -1
    assert ctypes.get_errno() == errno.EACCES
else:
    ctypes.memset(address, 1, 1)
"""


@pytest.mark.parametrize("kind", ["named", "anonymous", "sole writer"])
@pytest.mark.parametrize(("way", "status"), [("store", -11), ("mprotect", 0)])
def test_promise_10_the_kernel_lets_a_receiver_write_no_message(
    python: Callable[..., str], kind: str, way: str, status: int
) -> None:
    assert python("-W", "ignore::ResourceWarning", "-c", WRITE, kind, way, status=status) == ""
    if kind == "named":
        shmq.list_regions()  # sweeps what the killed process left


def test_a_sole_writer_makes_all_others_receive_only() -> None:
    with anonymous(sole_writer=True) as region:
        assert region.access == "both"
        with Region.from_filenos(region.filenos()) as receiver:
            assert receiver.access == "receive"
            region.sender("q").send(b"x")
            assert drain(receiver.receiver("q")) == [b"x"]
        with pytest.raises(shmq.RegionPermissionError, match="no sole_writer"):
            Region.from_filenos(region.filenos(), access="both")


def test_threads_hand_on_and_attach_at_once() -> None:
    with anonymous() as region:

        def attach() -> int:
            seen = 0
            for _ in range(30):
                with Region.from_filenos(region.filenos("receive")) as receiver:
                    seen += receiver.access == "receive"
            return seen

        assert [thread.result() for thread in [Thread(attach) for _ in range(4)]] == [30] * 4
        assert len(region.processes()) == 1
