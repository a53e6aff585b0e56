# SPDX-License-Identifier: MIT
"""The rows of docs/errors.md about queues, messages and arguments; those about regions are in test_error_table.py.

Each situation is brought about, the text read, the remedy tried, and nothing may be lost by the call that failed.
"""

import ctypes
import os
import pickle
import queue
import re
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from apart import Elsewhere
from helpers import BAD_TIMEOUTS, Partner, Thread, all_free, drain, small, talk, until
from telling import MIB, harmless, refused, stay, tells, works

import shmq
from shmq import Region, ShmqError

GRANULES = (1 << 28) - 1  # as many as a region can have …
LARGEST = GRANULES * MIB  # … of at most that size


@pytest.fixture(scope="module")
def run() -> Iterator[Elsewhere]:
    """Runs a function in another process."""
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


# ---- a queue that is full, or empty ----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("received", [False, True])
def test_a_queue_that_is_full(received: bool, timeout: float) -> None:
    with small() as region:
        tx = region.sender("q", depth=2)
        tx.send_many([b"1", b"2"])
        rx = region.receiver("q", shared=True) if received else None
        loan = tx.loan(1)
        loan[0] = ord("3")
        for call in (lambda: tx.send(b"3", timeout=timeout), lambda: loan.send(timeout=timeout)):
            with harmless(region):
                error = refused(call)
            text = tells(
                error,
                shmq.Full,
                queue.Full,
                fact="queue 'q' holds its 2 messages" + (" and none was received in time" if timeout else ""),
                value="'q'",
                limit="its 2 messages",
                remedy=(
                    "receive faster" if received else "start a receiver",
                    "wait longer (timeout)",
                    "delete it and make it deeper (depth, up to 65536)",
                ),
            )
            assert ("no receiver is attached" in text) is not received
        rx = rx or region.receiver("q", shared=True)
        assert bytes(rx.receive(0)) == b"1"
        assert loan.send(timeout=timeout) is True
        sending = Thread(tx.send, b"4")  # waits longer
        until(sending.is_asleep)
        assert bytes(rx.receive(0)) == b"2"
        assert sending.result() is True
        assert drain(rx) == [b"3", b"4"]
        region.delete_queue("q")
        region.sender("q", depth=5).send_many([b"x"] * 5, timeout=0)
        region.delete_queue("q")
        assert all_free(region)


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("kind", ["queue", "topic", "inbox"])
def test_a_queue_that_is_empty(kind: str, timeout: float) -> None:
    with small(process="me") as region:
        ends: dict[str, tuple[str, Any, Callable[[], Any]]] = {
            "queue": ("q", region.receiver("q", depth=7), lambda: region.sender("q")),
            "topic": ("t", region.subscriber("t", depth=7), lambda: region.publisher("t")),
            "inbox": ("me", region.inbox, lambda: region.peer("me")),
        }
        name, rx, sender = ends[kind]
        for call in (lambda: rx.receive(timeout), lambda: rx.receive_many(3, timeout)):
            with harmless(region):
                error = refused(call)
            tells(
                error,
                shmq.Empty,
                queue.Empty,
                fact="is empty" + (" and nothing came in time" if timeout else ""),
                value=f"{kind} {name!r}",
                limit=f"(depth {rx.depth})",
                remedy=("wait longer (timeout)", "check that a sender runs"),
            )
        receiving = Thread(rx.receive, 20)
        until(receiving.is_asleep)
        sender().send(b"x")
        assert bytes(receiving.result()) == b"x"


# ---- out of blocks ---------------------------------------------------------------------------------------------


def hold(link: Connection) -> None:
    with Region.attach("r", process="holder") as region:
        message = region.receiver("q").receive(20)
        link.send("held")
        link.recv()
        message.release()
        link.send("released")
        link.recv()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_no_block_is_free(start: Callable[..., Any], timeout: float) -> None:
    with small(process="lender") as region:
        tx, other = region.sender("q"), region.sender("other")
        tx.send(bytes(MIB // 2))
        holder = Partner(start, hold)
        holder.hear()
        other.send(bytes(MIB // 8))
        loan = tx.loan(MIB // 4)
        for call in (
            lambda: tx.loan(MIB // 4, timeout=timeout),
            lambda: tx.send(bytes(MIB // 4), timeout=timeout),
            lambda: region.publisher("t").loan(MIB // 4, timeout=timeout),
        ):
            region.publisher("t")
            with harmless(region):
                error = refused(call)
            tells(
                error,
                shmq.OutOfBlocks,
                MemoryError,
                fact=f"{MIB // 4} bytes asked; {MIB // 8} of {MIB} bytes of region 'r' are free; the rest is held by:",
                value=f"{MIB // 4} bytes asked",
                limit=(
                    f"'lender' (pid {os.getpid()}, slot 0): 1 loans, 0 messages held, 0 cached, 256 KiB",
                    f"'holder' (pid {holder.pid}, slot 1): 0 loans, 1 messages held, 0 cached, 512 KiB",
                    "queues: 1 messages, 128 KiB",
                ),
                remedy=("receive and release messages, drop their views", "send or discard loans", "a larger region"),
            )
        loan.discard()  # one remedy
        tx.loan(MIB // 4, timeout=timeout).discard()
        holder.say("release")  # another
        assert holder.hear() == "released"
        tx.loan(MIB // 2, timeout=20).discard()
        holder.say("go")
        holder.result()
        assert drain(region.receiver("other")) == [bytes(MIB // 8)]
        assert all_free(region)


# ---- larger than any block -------------------------------------------------------------------------------------


def test_larger_than_any_block() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        publisher = region.publisher("t")
        for end in (tx, publisher):
            for call in (lambda end=end: end.loan(MIB + 1), lambda end=end: end.send(bytes(MIB + 1))):
                with harmless(region):
                    error = refused(call)
                tells(
                    error,
                    ValueError,
                    ValueError,
                    fact="bytes asked, the largest block of region 'r' has",
                    value=f"{MIB + 1} bytes asked",
                    limit=f"{MIB} bytes (1 MiB)",
                    remedy=("send it in pieces", "create a larger region"),
                )
        tx.send(bytes(MIB))
        assert len(drain(rx)) == 1
    with small(size=MIB + 1) as region, pytest.raises(ValueError, match="the largest block"):
        region.sender("q").loan(MIB + 1)  # a power of two
    with small(size=2 * MIB) as region:
        region.sender("q").loan(MIB + 1).discard()


# ---- shut down -------------------------------------------------------------------------------------------------


def test_a_queue_that_was_shut_down() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(b"queued")
        loan = tx.loan(4)
        tx.shutdown()
        for call in (lambda: tx.send(b"x"), lambda: tx.send(b"x", timeout=0), loan.send):
            with harmless(region):
                error = refused(call)
            tells_shut(error, "queue 'q'", "use another queue, or delete this one (delete_queue) and open it anew")
        loan.discard()
        assert drain(rx) == [b"queued"]
        with harmless(region):
            tells_shut(refused(rx.receive), "queue 'q'", "delete this one (delete_queue) and open it anew")
        assert talk(region, "another")
        region.delete_queue("q")
        assert talk(region)


def test_a_topic_whose_subscribers_were_shut_down() -> None:
    with small() as region:
        publisher, subscriber = region.publisher("t"), region.subscriber("t")
        publisher.shutdown()
        with harmless(region):
            tells_shut(refused(subscriber.receive), "topic 't'", "subscribe anew")
        anew = region.subscriber("t")
        assert publisher.send(b"x") == 1
        assert drain(anew) == [b"x"]


def tells_shut(error: Exception, what: str, remedy: str) -> None:
    also = getattr(queue, "ShutDown", ShmqError)  # from Python 3.13 on
    tells(error, shmq.ShutDown, also, fact="has been shut down", value=what, limit="has been shut down", remedy=remedy)


# ---- an inbox whose process is not there, or has died ----------------------------------------------------------


def test_an_inbox_whose_process_is_not_there(start: Callable[..., Any]) -> None:
    with small(process="me") as region:
        with harmless(region):
            error = refused(region.peer, "other")
        tells(
            error,
            shmq.NoReceiver,
            ShmqError,
            fact="is attached to region 'r'",
            value="no process named 'other'",
            limit="(there are 'me')",
            remedy=("start it with process='other'", "wait until it is there", "check the name"),
        )
        other = Partner(start, stay, "other")
        other.hear()
        assert region.peer("other").send(b"x") is True
        other.say("go")
        other.result()


def test_an_inbox_whose_process_has_died(start: Callable[..., Any]) -> None:
    with small(process="me") as region:
        other = Partner(start, stay, "other")
        other.hear()
        tx = region.peer("other")
        tx.send(b"never read")
        loan = tx.loan(1)
        other.kill()
        until(region.recover)
        for call in (lambda: tx.send(b"x"), lambda: tx.send(b"x", timeout=0), loan.send):
            with harmless(region):
                error = refused(call)
            text = tells(
                error,
                shmq.PeerDied,
                ShmqError,
                fact="has left or died, and its inbox with it",
                value="process 'other'",
                limit="(slot 1, epoch",
                remedy=("region.processes()", "region.peer(name) again once it is back"),
            )
            assert re.search(r"epoch \d+\)", text)
        assert [one.name for one in region.processes()] == ["me"]
        loan.discard()
        again = Partner(start, stay, "other")
        again.hear()
        assert region.peer("other").send(b"x") is True
        again.say("go")
        again.result()
        assert all_free(region)


# ---- a queue, or a name, that another has claimed --------------------------------------------------------------


def claim(link: Connection, shared: bool) -> None:
    with Region.attach("r", process="other") as region:
        rx = region.receiver("q", shared=shared)
        link.send("claimed")
        link.recv()
        rx.close()
        link.send("given up")
        link.recv()


def test_a_queue_that_another_receiver_has_claimed(start: Callable[..., Any]) -> None:
    with small() as region:
        region.sender("q").send(b"theirs")
        other = Partner(start, claim, False)
        other.hear()
        with harmless(region):
            error = refused(region.receiver, "q")
        tells(
            error,
            shmq.QueueInUseError,
            ShmqError,
            fact="queue 'q' is claimed by",
            value=f"'other' (pid {other.pid}, slot 1)",
            limit="claimed",
            remedy=("use another queue", "close that receiver", "make every receiver with shared=True"),
        )
        region.receiver("another")
        other.say("give it up")
        assert other.hear() == "given up"
        assert drain(region.receiver("q")) == [b"theirs"]
        other.say("go")
        other.result()
        region.delete_queue("q")
        other = Partner(start, claim, True)
        other.hear()
        assert region.receiver("q", shared=True).shared
        other.say("give it up")
        other.say("go")
        other.result()


def test_a_process_name_that_another_has(start: Callable[..., Any]) -> None:
    with small() as region:
        other = Partner(start, stay, "wanted")
        other.hear()
        with harmless(region):
            error = refused(Region.attach, "r", process="wanted")
        tells(
            error,
            shmq.QueueInUseError,
            ShmqError,
            fact="process name 'wanted' is in use in region 'r'",
            value=f"by pid {other.pid}",
            limit="a name belongs to one process at a time",
            remedy="give another (process=), or none",
        )
        Region.attach("r", process="another").close()
        Region.attach("r").close()
        other.say("go")
        other.result()
        Region.attach("r", process="wanted").close()


# ---- the parent's handle in a forked child ---------------------------------------------------------------------


def use_what_is_the_parents() -> tuple[list[Exception], bool]:
    """In the child of a fork: the parent's loan and message, then its region."""
    region = small()
    tx, rx = region.sender("q"), region.receiver("q", shared=True)
    tx.send(b"held")
    loan, message = tx.loan(1, label=3), rx.receive(0)
    end, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        errors = [refused(call) for call in (loan.send, lambda: loan.array, lambda: bytes(message), message.edit)]
        os.write(ours, pickle.dumps((errors, talk(region, "of-the-child"))))
        os._exit(0)
    os.close(ours)
    with os.fdopen(end, "rb") as file:
        answer = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    region.recover()
    assert [(one.loans, one.held) for one in region.processes()] == [(1, 1)]
    assert bytes(message) == b"held"
    assert loan.send() is True
    message.release()
    region.delete_queue("q")
    return pickle.loads(answer)


def test_a_handle_of_the_parents_in_a_forked_child(run: Elsewhere) -> None:
    errors, region_works = run(use_what_is_the_parents)
    for number, error in enumerate(errors):
        tells(
            error,
            shmq.ForkedHandleError,
            ShmqError,
            fact="belongs to the parent that this process was forked from",
            value="the loan (label 3)" if number < 2 else "the message (label 0)",
            limit="belongs to the parent",
            remedy=("leave it to the parent", "region 'r', its senders and its receivers work here, too"),
        )
    assert region_works


# ---- used after release, close or send -------------------------------------------------------------------------


def test_something_used_after_its_end() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        closed_tx, closed_rx = region.sender("q"), region.receiver("other")
        sent, dropped = tx.loan(4, label=1), tx.loan(4, label=2)
        sent.send()
        dropped.discard()
        released = rx.receive(0)
        released.release()
        closed_tx.close()
        closed_rx.close()
        calls: list[tuple[Callable[[], Any], str, str, str]] = [
            (sent.send, "the loan (label 1)", "has been sent or discarded", "take another one"),
            (lambda: sent.array, "the loan (label 1)", "has been sent or discarded", "take another one"),
            (lambda: tx.send(dropped), "the loan (label 2)", "has been sent or discarded", "take another one"),
            (lambda: bytes(released), "the message (label 1)", "has been released", "take what you need before"),
            (lambda: released.forward(tx), "the message (label 1)", "has been released", "or keep a view"),
            (lambda: closed_tx.send(b"x"), "this sender of queue 'q'", "has been closed", "make another one"),
            (closed_rx.receive, "this receiver of queue 'other'", "has been closed", "make another one"),
        ]
        for call, which, fact, remedy in calls:
            with harmless(region):
                error = refused(call)
            tells(error, ValueError, ValueError, fact=fact, value=which, limit=fact, remedy=remedy)
        assert talk(region, "another")
    for call in (region.stats, lambda: tx.send(b"x"), rx.receive):
        with harmless():
            error = refused(call)
        tells(
            error,
            ValueError,
            ValueError,
            fact="has been closed",
            value="region 'r'",
            limit="while its handles are used",
            remedy=("open it again", "keep it open"),
        )
    assert works()


# ---- written to: a received message ----------------------------------------------------------------------------


def ask_to_write(message: shmq.Message) -> None:
    """As C code does that means to."""
    writable = 1
    ask = ctypes.pythonapi.PyObject_GetBuffer
    ask(ctypes.py_object(message), ctypes.create_string_buffer(256), writable)


def test_a_received_message_that_is_written_to() -> None:
    with small() as region:
        region.sender("q").send(np.arange(4))
        with region.receiver("q").receive(0) as message:
            view, array = message.memoryview, message.array
            writes: list[tuple[Callable[[], Any], type, str]] = [
                (lambda: array.__setitem__(0, 1), ValueError, "assignment destination is read-only"),
                (lambda: array.fill(1), ValueError, "read-only"),
                (lambda: array.setflags(write=True), ValueError, "WRITEABLE"),
                (lambda: view.__setitem__(0, 1), TypeError, "cannot modify read-only memory"),
                (lambda: message.__setitem__(0, 1), AttributeError, "__setitem__"),
                (lambda: (ctypes.c_char * 32).from_buffer(message), TypeError, "not writable"),
                (lambda: ask_to_write(message), BufferError, "is read-only: take .copy() to write"),
            ]
            for write, kind, text in writes:
                with harmless(region):
                    error = refused(write)
                assert type(error) is kind
                assert text in str(error)
            assert array.tolist() == [0, 1, 2, 3]
            copy = message.copy()
            copy[0] = 9
            assert (copy[0], array[0]) == (9, 0)


# ---- a negative timeout, a bad name, a bad size ----------------------------------------------------------------


def bad_arguments(region: Region) -> list[tuple[Callable[[], Any], str, str, str]]:
    """A call, what it calls the argument, the value as the text has it, and the rule."""
    tx, rx = region.sender("q"), region.receiver("q")
    give = "give seconds from 0 up, or None to wait for ever"
    found: list[tuple[Callable[[], Any], str, str, str]] = []
    for bad in BAD_TIMEOUTS:
        found += [
            (lambda bad=bad: tx.send(b"x", timeout=bad), "timeout", f"timeout is {bad!r}:", give),
            (lambda bad=bad: tx.loan(1, timeout=bad), "timeout", f"timeout is {bad!r}:", give),
            (lambda bad=bad: rx.receive(bad), "timeout", f"timeout is {bad!r}:", give),
            (lambda bad=bad: Region.attach("none", timeout=bad), "timeout", f"timeout is {bad!r}:", give),
        ]
    for name in ("", "a b", "ü", "x" * 101, "."):
        rule = "use 1 to 100 of A-Z a-z 0-9 . _ -"
        text = f"{name!r} ({len(name)} characters)"
        found += [
            (lambda name=name: shmq.open(name), "region name", text, rule),
            (lambda name=name: shmq.open("s", process=name), "process name", text, rule),
            (lambda name=name: region.peer(name), "process name", text, rule),
            (lambda name=name: region.sender(name), "queue name", text, rule + " /"),
            (lambda name=name: region.subscriber(name), "topic name", text, rule + " /"),
        ]
    found += [
        (lambda: shmq.open(".hidden"), "region name", "'.hidden'", "may not begin with a dot"),
        (lambda: shmq.open("s", size=MIB - 1), "size", str(MIB - 1), f"at least {MIB} (1 MiB)"),
        (lambda: shmq.open("s", size="1 parsec"), "size", "'1 parsec'", 'a text such as "256MiB"'),
        (lambda: shmq.open("s", size=-1), "size", "-1", "at least 1 byte"),
        (lambda: shmq.open("s", size=1 << 62), "size", str(1 << 62), f"the limit is {LARGEST}, {GRANULES} granules"),
        (lambda: shmq.open("s", size=1 << 40, granule=512), "size", str(1 << 40), "less, or for a larger granule"),
        (lambda: shmq.open("s", granule=1000), "granule", "1000", "a power of two from 512 to 1048576"),
        (lambda: shmq.open("s", max_processes=0), "max_processes", "0", "give 1 to 1024"),
        (lambda: shmq.open("s", max_queues=1025), "max_queues", "1025", "give 1 to 1024"),
        (lambda: shmq.open("s", mode=0o644), "mode", "0o644", "give 0o600, or 0o660 with"),
        (lambda: shmq.open("s", dir="a\0b"), "dir", r"'a\x00b'", "give one without"),
        (lambda: region.sender("s", depth=0), "depth", "0", "1 to 65536"),
        (lambda: region.receiver("s", depth=65537), "depth", "65537", "1 to 65536"),
        (lambda: region.receiver("s", spin=-1), "spin", "-1", "give seconds from 0 up, or None"),
        (lambda: region.receiver("s", overflow="wait"), "overflow", "'wait'", "one of block, drop_oldest, drop_newest"),
        (lambda: tx.send(b"x", label=1 << 32), "label", str(1 << 32), "0 to 2**32 - 1"),
        (lambda: tx.loan(-1), "a loan of", "-1 bytes", "from 0 up"),
        (lambda: tx.loan((1,) * 7, "u1"), "7 dimensions", "7", "at most 6; reshape it"),
        (lambda: rx.receive_many(0), "most", "0", "at least 1"),
    ]
    return found


def test_a_bad_argument_is_told_with_its_value_and_the_rule() -> None:
    with small() as region:
        for call, argument, value, rule in bad_arguments(region):
            with harmless(region):
                error = refused(call)
            tells(error, ValueError, ValueError, fact=argument, value=value, limit=rule, remedy=rule)
