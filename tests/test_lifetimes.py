# SPDX-License-Identifier: MIT
"""Lifetimes: views outlive handles, handles outlive nothing, and an interpreter that exits leaves nothing behind."""

import contextlib
import gc
import math
import os
import random
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Partner, Thread, all_free, drain, held, small, until
from telling import QUEUES, SMALL, words

import shmq
from shmq import Region

# ---- views after close -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "slice of the array", "memoryview", "slice of the memoryview"])
def test_a_view_of_a_message_is_readable_after_everything_else_is_closed(kind: str) -> None:
    region = small()
    tx, rx = region.sender("q"), region.receiver("q")
    tx.send(np.arange(1000, dtype="u1"))
    message = rx.receive(0)
    view = {"array": message.array, "memoryview": message.memoryview}[kind.split()[-1]]
    view = view[10:20] if "slice" in kind else view
    before = bytes(view)
    message.release()
    region.close()
    del message, rx, tx, region
    gc.collect()
    assert bytes(view) == before
    assert [info.attached for info in shmq.list_regions()] == [1]  # the view keeps the process slot …
    del view
    assert shmq.list_regions() == []  # … and gives it back


def test_a_block_that_a_view_pins_is_not_lent_again_while_others_go_on() -> None:
    with small() as other:
        region = Region.attach("r")
        tx, rx = other.sender("q"), region.receiver("q")
        tx.send(b"pinned" * 100)
        view = rx.receive(0).memoryview
        region.close()
        rx = other.receiver("q") if not other.stats()["queues"]["q"]["claimed"] else None
        for number in range(200):
            with tx.loan(3000) as loan:
                loan[:] = bytes([number]) * 3000
                loan.discard()
        assert bytes(view) == b"pinned" * 100
        assert [info.held for info in other.processes()] == [0, 1]
        view.release()
        assert len(other.processes()) == 1


def test_closing_gives_up_what_nobody_views() -> None:
    with small() as other:
        region = Region.attach("r")
        tx, rx = region.sender("q"), region.receiver("q")
        for number in range(3):
            tx.send(bytes([number]))
        first, second = rx.receive(0), rx.receive(0)
        loan = tx.loan(5)
        assert first.array is not None
        region.close()
        assert len(other.processes()) == 1
        rx = other.receiver("q")
        found = []
        while True:
            try:
                with rx.receive(0) as message:
                    found.append((message[0], message.redelivered, message.deliveries))
            except shmq.Empty:
                break
        assert sorted(found) == [(0, True, 2), (1, True, 2), (2, False, 1)]
        for handle in (first, second):
            handle.release()
        loan.discard()
        assert held(other) == (0, 0)


def test_a_view_keeps_one_message_and_closing_gives_up_the_others() -> None:
    with small() as other:
        region = Region.attach("r")
        tx, rx = region.sender("q"), region.receiver("q")
        for number in range(2):
            tx.send(bytes([number]))
        messages = [rx.receive(0) for _ in range(2)]
        view = messages[0].array
        region.close()
        with other.receiver("q").receive(0) as message:
            assert message[0] == 1
            assert message.redelivered
        assert view[0] == 0
        del view, messages


def test_a_writable_view_of_a_loan_can_be_written_after_close_and_reaches_nobody() -> None:
    with small() as other:
        region = Region.attach("r")
        loan = region.sender("q").loan(100)
        array = loan.array
        region.close()
        array[:] = 7
        with pytest.raises(ValueError, match="closed"):
            loan.send()
        del array, loan
        assert len(other.processes()) == 1
        assert other.stats()["queued"] == 0


def test_views_die_in_any_order_and_in_any_thread() -> None:
    region = small()
    tx, rx = region.sender("q"), region.receiver("q")
    for _ in range(30):
        tx.send(bytes(100))
    views = [rx.receive(0).memoryview for _ in range(30)]
    region.close()

    def drop(some: list[Any]) -> None:
        some.clear()

    parts = [views[0::3], views[1::3], views[2::3]]
    del views
    for thread in [Thread(drop, part) for part in parts]:
        thread.result()
    assert shmq.list_regions() == []


def test_handles_keep_their_region_open() -> None:
    tx = small().sender("q")
    tx.send(b"x")
    assert drain(tx.region.receiver("q")) == [b"x"]
    message_holder = [tx.region]
    del tx
    gc.collect()
    assert len(shmq.list_regions()) == 1
    message_holder.clear()
    assert shmq.list_regions() == []


def test_a_message_keeps_its_region_open() -> None:
    region = small()
    region.sender("q").send(b"alive")
    message = region.receiver("q").receive(0)
    del region
    gc.collect()
    assert bytes(message) == b"alive"
    del message
    assert shmq.list_regions() == []


def test_regions_can_be_referred_to_weakly() -> None:
    region = small()
    reference = weakref.ref(region)
    assert reference() is region
    del region
    assert reference() is None


# ---- threads -----------------------------------------------------------------------------------------------


def waits(region: Region) -> dict[str, Callable[[], Any]]:
    """Each way to wait without end in this region."""
    tx, rx, full = region.sender("empty"), region.receiver("empty"), region.sender("full", depth=1)
    full.send(b"x")
    loan = full.loan(4)
    source, publisher, subscriber = region.sender("source"), region.publisher("t"), region.subscriber("t", depth=1)
    source.send(b"held")
    message = region.receiver("source").receive(0)
    publisher.send(b"x")
    return {
        "receive": rx.receive,
        "receive_many": lambda: rx.receive_many(3),
        "iterate": lambda: next(rx),
        "send": lambda: full.send(b"y"),
        "send_many": lambda: full.send_many([b"y"]),
        "send a loan": loan.send,
        "send elsewhere": lambda: tx.region.sender("full").send(b"z"),
        "publish": lambda: (publisher.send(b"y"), subscriber),
        "publish a loan": lambda: (publisher.send(loan), subscriber),
        "forward": lambda: message.forward(full),
        "forward to a topic": lambda: (message.forward(publisher), subscriber),
        "subscriber": region.subscriber("another").receive,
        "inbox": region.inbox.receive,
    }


WAITS = ["receive", "receive_many", "iterate", "send", "send_many", "send a loan", "publish", "publish a loan"]
WAITS += ["forward", "forward to a topic", "subscriber", "inbox"]


SLEEP = 2  # SHMQ_QUEUE_SLEEP of include/shmq/layout.h


def test_closing_the_region_wakes_who_waits_in_it(shmq_dir: Path) -> None:
    announced, wakes = QUEUES.start + 4 * 32 + 16, QUEUES.start + 4 * 32 + 19  # of the first queue behind the inboxes
    with shmq.open("r", **SMALL):
        region = Region.attach("r")
        waiting = Thread(region.receiver("q").receive)
        until(lambda: words(shmq_dir / "r/admin")[announced] & SLEEP)
        before = words(shmq_dir / "r/admin")[wakes]
        region.close()
        assert words(shmq_dir / "r/admin")[wakes] > before  # at once; else it were when the wait's slice is over
        with pytest.raises(ValueError, match="closed"):
            waiting.result()


@pytest.mark.parametrize("kind", WAITS)
def test_closing_the_region_ends_a_wait_in_another_thread(kind: str) -> None:
    region = small(persist=True)
    waiting = Thread(waits(region)[kind])
    until(waiting.is_asleep)
    region.close()
    with pytest.raises(ValueError, match="closed"):
        waiting.result()
    assert [info.attached for info in shmq.list_regions()] == [0]
    shmq.unlink("r")


@pytest.mark.parametrize("kind", ["receive", "send"])
def test_closing_the_handle_ends_a_wait_in_another_thread(kind: str) -> None:
    with small() as region:
        handle = region.receiver("q", depth=1) if kind == "receive" else region.sender("q", depth=1)
        if kind == "send":
            handle.send(b"x")
        waiting = Thread(handle.receive) if kind == "receive" else Thread(handle.send, b"y")
        until(waiting.is_asleep)
        handle.close()
        with pytest.raises(ValueError, match="closed"):
            waiting.result()
        if kind == "send":
            assert drain(region.receiver("q")) == [b"x"]


def test_closing_the_region_ends_a_wait_for_blocks_in_another_thread() -> None:
    with small() as other:
        other.sender("q").send(bytes(other.size))
        region = Region.attach("r")
        waiting = Thread(region.sender("q").loan, 100)
        until(waiting.is_asleep)
        region.close()
        with pytest.raises(ValueError, match="closed"):
            waiting.result()
        assert len(other.processes()) == 1
        assert len(drain(other.receiver("q"))) == 1


@pytest.mark.parametrize("what", ["loan", "send"])
def test_closing_the_handle_ends_a_wait_for_blocks_and_keeps_none(what: str) -> None:
    with small() as region, Region.attach("r") as other:
        whole, rx = other.sender("q").loan(other.size), region.receiver("q")
        tx = region.sender("q")
        waiting = Thread(tx.loan, 100) if what == "loan" else Thread(tx.send, b"x" * 100)
        until(waiting.is_asleep)
        tx.close()
        whole.discard()
        with pytest.raises(ValueError, match="sender of queue 'q' has been closed"):
            waiting.result()
        assert rx.qsize() == 0
        assert [(info.loans, info.held) for info in region.processes()] == [(0, 0), (0, 0)]
        assert all_free(region)


def test_closing_while_threads_send_and_receive_raises_nothing_else() -> None:
    for _ in range(30):
        region = small(persist=True)
        barrier = threading.Barrier(5)

        def work(end: str, region: Region = region, barrier: threading.Barrier = barrier) -> None:
            handle: Any = region.sender("q", depth=4) if end == "send" else region.receiver("q", depth=4, shared=True)
            barrier.wait()
            while True:
                if end == "send":
                    handle.send(b"x" * 100)
                else:
                    handle.receive().array  # noqa: B018

        threads = [Thread(work, end) for end in ("send", "receive", "send", "receive")]
        barrier.wait()
        region.close()
        for thread in threads:
            with pytest.raises(ValueError, match="closed"):
                thread.result()
        assert [info.attached for info in shmq.list_regions()] == [0]
        shmq.unlink("r")


def operations(region: Region) -> dict[str, Callable[[], Any]]:
    """What threads may be in the middle of when the region is closed."""
    tx, rx, publisher = region.sender("q", depth=4), region.receiver("q", shared=True), region.publisher("t")

    def pass_on() -> None:
        tx.send_nowait(b"x" * 100)
        rx.receive(0).forward(tx, timeout=0)
        rx.receive(0).edit(tx).send_nowait()

    return {
        "send and forward": pass_on,
        "wait to receive": region.receiver("empty", shared=True).receive,
        "loan": lambda: tx.loan(3000).discard(),
        "publish": lambda: publisher.send(b"x" * 100, timeout=0.001),
        "subscribe": lambda: region.subscriber("t", depth=2).close(),
        "look": lambda: (region.stats(), region.processes(), region.recover(), tx.qsize()),
        "open queues": lambda: (region.sender("other").qsize(), region.inbox.qsize()),
    }


def test_d8_a_region_closed_while_threads_are_inside_operations_ends_them_and_leaves_nothing() -> None:
    for _ in range(15):
        region = small(persist=True)
        works = operations(region)
        barrier = threading.Barrier(len(works) + 1)

        def work(operation: Callable[[], Any], barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            while True:
                with contextlib.suppress(shmq.Full, shmq.Empty, shmq.OutOfBlocks):
                    operation()

        threads = [Thread(work, operation) for operation in works.values()]
        barrier.wait()
        region.close()
        for thread in threads:
            with pytest.raises(ValueError, match="closed"):
                thread.result()
        assert [info.attached for info in shmq.list_regions()] == [0]
        shmq.unlink("r")


def mappings() -> int:
    """How many mappings this process has of files of regions."""
    return Path("/proc/self/maps").read_text().count(os.environ["SHMQ_DIR"])


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside one that sleeps"])
def test_d8_memory_that_a_thread_watches_without_the_interpreters_lock_stays_until_it_has_come_out(others: int) -> None:
    for _ in range(3):
        region = small()
        watching = [Thread(region.receiver("watched", spin=math.inf).receive)]
        sleeping = [Thread(region.receiver("empty", spin=0).receive) for _ in range(others)]
        for thread in sleeping:
            until(thread.is_asleep)
        until(lambda thread=watching[0]: all(thread.is_running() for _ in range(20)))  # without this thread's lock
        region.close()
        for thread in watching + sleeping:
            with pytest.raises(ValueError, match="closed"):
                thread.result()
        assert mappings() == 0
        assert shmq.list_regions() == []


# ---- what is left behind ------------------------------------------------------------------------------------


def test_the_last_to_close_is_warned_of_undelivered_messages() -> None:
    region = small()
    tx = region.sender("q")
    for _ in range(3):
        tx.send(b"x")
    with pytest.warns(ResourceWarning, match=r"3 .*messages.*") as caught:
        region.close()
    text = str(caught[0].message)
    for part in ("'r'", "persist=True"):
        assert part in text
    assert caught[0].filename == __file__


def attach_and_wait(link: Connection) -> None:
    region = small()
    region.sender("q").send(b"from who is killed")
    link.send(len(region.processes()))
    link.recv()


def test_the_last_who_is_alive_is_warned_although_nobody_recovered_the_dead(start: Callable[..., Any]) -> None:
    region = small()
    partner = Partner(start, attach_and_wait)
    assert partner.hear() == 2
    partner.kill()
    until(lambda: [info.attached for info in shmq.list_regions()] == [1])
    with pytest.warns(ResourceWarning, match="1 message undelivered"):
        region.close()
    assert shmq.list_regions() == []


def test_a_warning_that_is_an_error_still_closes_the_region() -> None:
    region = small()
    region.sender("q").send(b"x")
    with pytest.raises(ResourceWarning):  # as pyproject.toml asks
        region.close()
    assert region.closed
    assert shmq.list_regions() == []


def test_nobody_is_warned_where_nothing_is_lost() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with small() as region:
            tx = region.sender("q")
            tx.send(b"x")
            Region.attach("r").close()  # others are still attached
            drain(region.receiver("q"))
        with small(persist=True) as region:
            region.sender("q").send(b"kept")
        shmq.unlink("r")
        with small() as region:
            region.sender("q").send(b"x")
            region.sender("q").shutdown(immediate=True)  # dropped on purpose
    assert [str(warning.message) for warning in caught] == []


# ---- anything, in any order ----------------------------------------------------------------------------------


class Model:
    """Two attachments to one region do anything, and a model says what must come of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ends = [small(), small()]
        self.queued: deque[bytes] = deque()
        self.loans: list[tuple[shmq.Loan, bytes]] = []
        self.messages: list[tuple[shmq.Message, bytes]] = []
        self.views: list[tuple[Any, bytes]] = []

    def data(self) -> bytes:
        return self.random.randbytes(self.random.choice([0, 1, 100, 511, 512, 513, 3000, 20_000]))

    def send(self, end: Region) -> None:
        data = self.data()
        try:
            end.sender("q").send(data, timeout=0)
            self.queued.append(data)
        except shmq.Full:
            assert len(self.queued) == 30

    def lend(self, end: Region) -> None:
        data = self.data()
        loan = end.sender("q").loan(len(data), timeout=0)
        loan[:] = data
        self.loans.append((loan, data))

    def send_loan(self, _: Region) -> None:
        if self.loans:
            index = self.random.randrange(len(self.loans))
            loan, data = self.loans[index]
            try:
                loan.send(timeout=0)
                self.queued.append(data)
                del self.loans[index]
            except shmq.Full:
                assert len(self.queued) == 30

    def discard(self, _: Region) -> None:
        if self.loans:
            self.loans.pop(self.random.randrange(len(self.loans)))[0].discard()

    def receive(self, end: Region) -> None:
        rx = end.receiver("q", shared=True)
        if self.queued:
            self.messages.append((rx.receive(0), self.queued.popleft()))
        else:
            with pytest.raises(shmq.Empty):
                rx.receive(0)

    def look(self, _: Region) -> None:
        if self.messages:
            message, data = self.random.choice(self.messages)
            start = self.random.randrange(len(data) + 1)
            view = self.random.choice([message.array, message.memoryview, np.frombuffer(message, "u1")])
            self.views.append((view[start:], data[start:]))

    def release(self, _: Region) -> None:
        if self.messages:
            message, data = self.messages.pop(self.random.randrange(len(self.messages)))
            assert bytes(message) == data
            message.release()

    def forget(self, _: Region) -> None:
        if self.views:
            self.views.pop(self.random.randrange(len(self.views)))

    def check(self) -> None:
        assert all(bytes(view) == data for view, data in self.views)
        assert all(bytes(message) == data for message, data in self.messages)
        assert all(loan[:] == data for loan, data in self.loans)
        assert self.ends[0].stats()["queued"] == len(self.queued)
        assert sum(info.loans for info in self.ends[0].processes()) == len(self.loans)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_done_in_whatever_order_agrees_with_a_model(seed: int) -> None:
    model = Model(seed)
    model.ends[0].sender("q", depth=30)
    steps = ["send", "send", "lend", "lend", "send_loan", "discard", "receive", "receive", "look", "look", "release"]
    steps += ["release", "forget", "forget"]
    for number in range(1500):
        getattr(model, model.random.choice(steps))(model.random.choice(model.ends))
        if number % 50 == 0:
            model.check()
    model.check()
    views = model.views
    for loan, _ in model.loans:
        loan.discard()
    for message, _ in model.messages:
        message.release()
    assert len(drain(model.ends[0].receiver("q", shared=True))) == len(model.queued)
    pinned = sum(info.held for info in model.ends[0].processes())
    assert pinned <= len(views)
    assert all(bytes(view) == data for view, data in views)
    views.clear()
    model.ends[1].close()  # with the blocks that it keeps at hand
    model.ends[0].sender("q").loan(model.ends[0].size, timeout=0).discard()
    model.ends[0].close()
