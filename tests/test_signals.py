# SPDX-License-Identifier: MIT
"""Ctrl-C interrupts every wait at once, and what waited is as it was."""

import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import AT_ONCE, Partner, all_free, drain, interrupt, is_asleep, small, until

import shmq
from shmq import Region


def wait_for_interrupt(link: Connection, what: str, spin: float | None = None) -> tuple[float, Any]:
    """Wait in `what` until Ctrl-C; when that was, and what is left as it should be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with small() as region:
        rx = region.receiver("empty", spin=spin)
        full = region.sender("full", depth=1)
        loan = full.loan(4)
        loan[:] = b"mine"
        calls: dict[str, Callable[[], Any]] = {
            "receive": rx.receive,
            "receive with a timeout": lambda: rx.receive(60),
            "iterate": lambda: list(rx),
            "send": lambda: full.send(b"x"),
            "send a buffer": lambda: full.send(bytearray(b"x"), timeout=60),
            "send a loan": loan.send,
            "leave a loan's with": lambda: loan.__exit__(None, None, None),
            "loan": lambda: full.loan(region.size),
            "send without blocks": lambda: full.send(bytes(region.size)),
            "attach": lambda: Region.attach("nothing", timeout=None),
            "attach with a timeout": lambda: Region.attach("nothing", timeout=60),
        }
        link.send("about to wait")
        try:
            calls[what]()
        except KeyboardInterrupt:
            interrupted = time.monotonic()
        else:
            return 0.0, "not interrupted"
        left = bytes(loan[:]), full.qsize(), rx.qsize(), [info.loans for info in region.processes() if info.loans]
        loan.discard()
        return interrupted, left


WAITS = [
    *("receive", "receive with a timeout", "iterate", "send", "send a buffer", "send a loan", "leave a loan's with"),
    *("loan", "send without blocks", "attach", "attach with a timeout"),
]


@pytest.mark.parametrize("what", WAITS)
def test_ctrl_c_ends_a_wait_at_once_and_changes_nothing(start: Callable[..., Any], what: str) -> None:
    with small() as region:
        tx = region.sender("full", depth=1)
        tx.send(b"in the way")
        if what in ("loan", "send without blocks"):
            region.sender("other").send(bytes(region.size // 2))  # blocks that others hold are worth waiting for
        child = Partner(start, wait_for_interrupt, what)
        child.hear()
        sent = interrupt(child.pid)
        interrupted, left = child.result()
        assert left == (b"mine", 1, 0, [1])
        assert interrupted - sent < AT_ONCE
        assert bytes(region.receiver("full").receive(0)) == b"in the way"
        region.sender("other").shutdown(immediate=True)


def wait_while_passing_on(link: Connection, what: str) -> tuple[float, Any]:
    """Wait in `what` until Ctrl-C; when that was, and whose things are then."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Region.attach("r", process="child") as region:
        full, publisher, subscriber = region.sender("full"), region.publisher("t"), region.subscriber("t")
        message = region.receiver("source").receive(20)
        published = region.subscriber("news").receive(20) if what == "edit" else None
        loan = full.loan(4) if what != "edit" else None
        calls: dict[str, Callable[[], Any]] = {
            "subscriber": region.subscriber("another").receive,
            "inbox": region.inbox.receive,
            "receive_many": lambda: region.receiver("empty").receive_many(3),
            "send_many": lambda: full.send_many([b"x", b"y"]),
            "send a given loan": lambda: full.send(loan),
            "send to a peer": lambda: region.peer("parent").send(b"x"),
            "publish": lambda: publisher.send(b"x"),
            "publish a loan": lambda: publisher.send(loan),
            "forward": lambda: message.forward(full),
            "forward to a topic": lambda: message.forward(publisher),
            "edit": lambda: published.edit(),  # type: ignore[union-attr]
        }
        link.send("about to wait")
        try:
            calls[what]()
        except KeyboardInterrupt:
            interrupted = time.monotonic()
        else:
            return 0.0, "not interrupted"
        reached = subscriber.qsize()
        kept = [repr(one).count("released") + repr(one).count("sent or") for one in (message, loan) if one is not None]
        if published is not None:
            kept.append(published.nbytes)
        return interrupted, (reached, kept)


PASSING_ON = {
    **dict.fromkeys(("subscriber", "inbox", "receive_many", "send_many", "send a given loan"), (0, [0, 0])),
    **dict.fromkeys(("send to a peer", "forward"), (0, [0, 0])),
    "publish": (1, [0, 0]),  # who has room has it
    "publish a loan": (1, [0, 1]),
    "forward to a topic": (1, [1, 0]),
    "edit": (0, [0, 1 << 18]),
}


@pytest.mark.parametrize("what", PASSING_ON)
def test_ctrl_c_ends_a_wait_on_the_way_and_what_was_not_passed_on_is_kept(start: Callable[..., Any], what: str) -> None:
    with small(process="parent") as region:
        region.sender("full", depth=1).send(b"in the way")
        region.sender("source").send(b"held")
        region.peer("parent").send_many([b""] * 1024)
        slow = region.subscriber("t", depth=1)
        region.publisher("t").send(b"in the way")
        child = Partner(start, wait_while_passing_on, what)
        if what == "edit":
            mine = region.subscriber("news")
            until(lambda: region.publisher("news").subscribers == 2)
            region.publisher("news").send(bytes(1 << 18))
            kept = [mine.receive(0)]
        child.hear()
        sent = interrupt(child.pid)
        interrupted, left = child.result()
        assert left == PASSING_ON[what]
        assert interrupted - sent < AT_ONCE
        assert slow.dropped == (what in ("publish", "publish a loan", "forward to a topic"))
        if what != "forward to a topic":
            with region.receiver("source").receive(0) as again:
                assert (bytes(again), again.redelivered) == (b"held", True)
        if what == "edit":
            kept.clear()
        for name in ("full", "source"):
            region.delete_queue(name)
        assert len(drain(region.inbox)) == 1024
        assert drain(slow) == [b"in the way"]
        assert all_free(region)


def test_ctrl_c_ends_a_wait_that_spins_without_end(start: Callable[..., Any]) -> None:
    with small():
        child = Partner(start, spin_for_interrupt)
        child.hear()
        sent = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        assert child.result() - sent < AT_ONCE


def spin_for_interrupt(link: Connection) -> float:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Region.attach("r") as region:
        rx = region.receiver("q", spin=float("inf"))
        try:
            link.send("about to spin")
            rx.receive()
        except KeyboardInterrupt:
            return time.monotonic()
    raise AssertionError("not interrupted")


def handle_signals(link: Connection) -> tuple[int, bytes]:
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: (seen.append(number), link.send("handled")))
    with Region.attach("r") as region:
        rx = region.receiver("q")
        link.send("ready")
        return len(seen) + 3, bytes(rx.receive(20))


def test_a_handler_that_returns_runs_at_once_and_the_wait_goes_on(start: Callable[..., Any]) -> None:
    with small() as region:
        child = Partner(start, handle_signals)
        child.hear()
        for _ in range(3):
            until(lambda: is_asleep(child.pid))
            began = time.monotonic()
            os.kill(child.pid, signal.SIGUSR1)
            assert child.hear() == "handled"
            assert time.monotonic() - began < AT_ONCE
        region.sender("q").send(b"still here")
        assert child.result() == (3, b"still here")


def test_a_handler_that_raises_ends_the_wait_with_its_exception() -> None:
    class Alarm(Exception):
        pass

    def ring(number: int, frame: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with small() as region:
            tx, rx = region.sender("q", depth=1), region.receiver("q")
            for wait in (rx.receive, lambda: tx.send(b"second")):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                with pytest.raises(Alarm):
                    wait()
                if not tx.qsize():
                    tx.send(b"first")
            assert bytes(rx.receive(0)) == b"first"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_wait_in_a_thread_does_not_keep_the_interpreter_from_working() -> None:
    with small() as region:
        rx = region.receiver("q", spin=float("inf"))
        results: list[bytes] = []
        waiting = threading.Thread(target=lambda: results.append(bytes(rx.receive(20))), daemon=True)
        waiting.start()
        began = time.monotonic()
        assert sum(range(100_000)) == 4999950000
        assert time.monotonic() - began < AT_ONCE
        region.sender("q").send(b"x")
        waiting.join(20)
        assert results == [b"x"]
        with pytest.raises(shmq.Empty):
            rx.receive(0)
