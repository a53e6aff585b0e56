# SPDX-License-Identifier: MIT
"""Python code of the caller that runs in the middle of a call: it may close or send what the call is about to touch."""

import contextlib
import signal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import shmq
from shmq import Region


class Meddler:
    """A number whose conversion does something else first."""

    def __init__(self, deed: Callable[[], Any], number: int) -> None:
        self.deed, self.number = deed, number

    def __index__(self) -> int:
        self.deed()
        return self.number


def make() -> tuple[Region, shmq.Sender, shmq.Receiver]:
    region = shmq.open("r", size="1MiB")
    return region, region.sender("q"), region.receiver("q")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda end, deed: end[Meddler(deed, 0)],
        lambda end, deed: end[Meddler(deed, 0) : 2],
    ],
)
def test_an_index_that_closes_the_region_reads_nothing(use: Callable[..., Any]) -> None:
    region, tx, rx = make()
    tx.send(b"abc")
    message = rx.receive()
    with pytest.raises(ValueError, match="closed"):
        use(message, region.close)
    region, tx, rx = make()
    loan = tx.loan(3)
    with pytest.raises(ValueError, match="closed"):
        use(loan, region.close)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda loan, meddler: loan.__setitem__(meddler, 1),
        lambda loan, meddler: loan.__setitem__(0, meddler),
        lambda loan, meddler: loan.__setitem__(slice(meddler, 2), b"ab"),
    ],
)
def test_an_index_or_value_that_closes_the_region_writes_nothing(use: Callable[..., Any]) -> None:
    region, tx, _ = make()
    loan = tx.loan(3)
    meddler = Meddler(region.close, 0)
    with pytest.raises(ValueError, match="closed"):
        use(loan, meddler)


def test_an_index_that_sends_the_loan_writes_nothing_into_the_message() -> None:
    region, tx, rx = make()
    with region:
        loan = tx.loan(2)
        loan[:] = b"ok"
        with pytest.raises(ValueError, match="sent"):
            loan[Meddler(loan.send, 0)] = 77
        assert bytes(rx.receive()) == b"ok"


def test_a_byte_is_a_whole_number_from_0_to_255() -> None:
    region, tx, _ = make()
    with region, tx.loan(1) as loan:
        for bad in (256, -1, 300):
            with pytest.raises(ValueError, match="0 to 255"):
                loan[0] = bad
        with pytest.raises(TypeError):
            loan[0] = 1.7  # type: ignore[assignment]
        loan[0] = 255
        assert loan[0] == 255
        loan.discard()


def test_a_timeout_of_any_number_type_loses_no_block() -> None:
    region, tx, _ = make()
    with region:
        kept = [tx.loan(1 << 19), tx.loan(1 << 19)]
        with pytest.raises(shmq.OutOfBlocks):
            tx.send(b"x", timeout=Decimal("0.01"))  # type: ignore[arg-type]
        kept.pop().discard()
        tx.send(b"x", timeout=Decimal("0.01"))  # type: ignore[arg-type]
        kept.clear()
        region.delete_queue("q")
        assert sum(one.loans + one.held for one in region.processes()) == 0


def test_no_view_taken_while_a_send_waits_can_write_to_the_message() -> None:
    region, _, _ = make()
    with region:
        tx, rx = region.sender("full", depth=1), region.receiver("full")
        tx.send(b"first")
        loan = tx.loan(4)
        array = loan.array
        array[:] = 7
        views: list[Any] = []

        def meddle(*_: Any) -> None:
            views.append(array[1:])
            rx.receive().release()

        before = signal.signal(signal.SIGALRM, meddle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            loan.send()
        finally:
            signal.signal(signal.SIGALRM, before)
        assert [view.flags.writeable for view in views] == [False]
        with pytest.raises(ValueError, match="read-only"):
            views[0][0] = 99
        assert bytes(rx.receive()) == b"\x07" * 4


def test_an_array_that_nobody_holds_does_not_keep_a_closed_region() -> None:
    region, tx, _ = make()
    loan = tx.loan(8)
    loan.array[:] = 1
    region.close()
    assert shmq.list_regions() == []
    assert "discarded" in repr(loan)


def test_a_handle_of_a_closed_region_is_asked_for_receivers_in_vain() -> None:
    region, tx, _ = make()
    assert tx._has_receiver  # type: ignore[attr-defined]
    region.close()
    assert not tx._has_receiver  # type: ignore[attr-defined]


# ---- numbers -------------------------------------------------------------------------------------------------


class Seconds:
    """A timeout whose conversion, or any other use, does something else first, the `turn`-th time."""

    def __init__(self, deed: Callable[[], Any], turn: int) -> None:
        self.deed, self.turn = deed, turn

    def __float__(self) -> float:
        self.turn -= 1
        if self.turn == 0:
            self.deed()
        return 0.01

    def __ne__(self, other: object) -> bool:
        return float(self) != other

    def __rsub__(self, other: float) -> float:
        return other - float(self)

    __sub__ = __rsub__


class World:
    """One of everything: a full queue, an empty one, a topic whose subscriber is full."""

    def __init__(self) -> None:
        self.region = shmq.open("r", size="1MiB", process="me")
        self.tx, self.rx = self.region.sender("q"), self.region.receiver("q")
        self.full, self.empty = self.region.sender("full", depth=1), self.region.receiver("empty")
        self.publisher, self.subscriber = self.region.publisher("t"), self.region.subscriber("t", depth=1)
        self.tx.send(b"abc")
        self.full.send(b"in the way")
        self.message = self.rx.receive()
        self.publisher.send(b"published")
        self.loan = self.tx.loan(3)


WITH_TIMEOUT: dict[str, Callable[[World, Any], Any]] = {
    "receive": lambda world, seconds: world.empty.receive(seconds),
    "receive what is there": lambda world, seconds: world.subscriber.receive(seconds),
    "receive_many": lambda world, seconds: world.empty.receive_many(2, seconds),
    "inbox": lambda world, seconds: world.region.inbox.receive(seconds),
    "send": lambda world, seconds: world.full.send(b"x", timeout=seconds),
    "send without a wait": lambda world, seconds: world.tx.send(b"x", timeout=seconds),
    "send a buffer": lambda world, seconds: world.full.send(bytearray(b"x"), timeout=seconds),
    "send to a peer": lambda world, seconds: world.region.peer("me").send(b"x", timeout=seconds),
    "send_many": lambda world, seconds: world.full.send_many([b"x", b"y"], timeout=seconds),
    "send a given loan": lambda world, seconds: world.full.send(world.loan, timeout=seconds),
    "send without blocks": lambda world, seconds: world.tx.send(bytes(1 << 20), timeout=seconds),
    "publish": lambda world, seconds: world.publisher.send(b"x", timeout=seconds),
    "publish a loan": lambda world, seconds: world.publisher.send(world.loan, timeout=seconds),
    "loan": lambda world, seconds: world.tx.loan(3, timeout=seconds),
    "loan without blocks": lambda world, seconds: world.tx.loan(1 << 20, timeout=seconds),
    "send a loan": lambda world, seconds: world.loan.send(seconds),
    "edit": lambda world, seconds: world.message.edit(timeout=seconds),
    "forward": lambda world, seconds: world.message.forward(world.full, timeout=seconds),
    "forward to a topic": lambda world, seconds: world.message.forward(world.publisher, timeout=seconds),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("what", WITH_TIMEOUT)
def test_a_timeout_that_closes_the_region_is_looked_at_once_and_before_anything_else(what: str) -> None:
    world = World()
    with pytest.raises(ValueError, match="closed"):
        WITH_TIMEOUT[what](world, Seconds(world.region.close, 1))
    world = World()
    meddler = Seconds(world.region.close, 2)
    with contextlib.suppress(shmq.Empty, shmq.Full, shmq.OutOfBlocks):
        WITH_TIMEOUT[what](world, meddler)
    assert meddler.turn == 1
    assert not world.region.closed


@pytest.mark.parametrize("way", ["send", "discard"])
def test_a_timeout_that_uses_the_loan_up_sends_nothing_twice(way: str) -> None:
    region, tx, rx = make()
    with region:
        for call in (
            lambda loan: loan.send(Seconds(getattr(loan, way), 1)),
            lambda loan: tx.send(loan, timeout=Seconds(getattr(loan, way), 1)),
            lambda loan: region.publisher("t").send(loan, timeout=Seconds(getattr(loan, way), 1)),
        ):
            with pytest.raises(ValueError, match="sent or discarded"):
                call(tx.loan(3))
            assert rx.qsize() == (way == "send")
            if way == "send":
                rx.receive(0).release()


@pytest.mark.parametrize("way", ["release", "edit"])
def test_a_timeout_that_uses_the_message_up_passes_nothing_on(way: str) -> None:
    region, tx, rx = make()
    with region:
        for call in (
            lambda message, seconds: message.edit(timeout=seconds),
            lambda message, seconds: message.forward(tx, timeout=seconds),
            lambda message, seconds: message.forward(region.publisher("t"), timeout=seconds),
        ):
            tx.send(b"abc")
            message = rx.receive(0)
            with pytest.raises(ValueError, match="has been released"):
                call(message, Seconds(getattr(message, way), 1))
            assert rx.qsize() == 0
        del message


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda world, number: world.tx.send(b"x", label=number),
        lambda world, number: world.tx.send(world.loan, label=number),
        lambda world, number: world.tx.send_many([b"x"], label=number),
        lambda world, number: world.tx.loan(number),
        lambda world, number: world.tx.loan(3, label=number),
        lambda world, number: world.tx.loan((number, 2), "u1"),
        lambda world, number: world.publisher.send(b"x", label=number),
        lambda world, number: world.publisher.loan(number),
        lambda world, number: world.rx.receive_many(number, 0),
        lambda world, number: world.region.receiver("new", depth=number),
        lambda world, number: world.region.sender("new", depth=number),
        lambda world, number: world.region.subscriber("t", depth=number),
    ],
)
def test_a_number_that_closes_the_region_changes_nothing(use: Callable[..., Any]) -> None:
    world = World()
    with pytest.raises(ValueError, match="closed"):
        use(world, Meddler(world.region.close, 3))


# ---- iterables -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("end", ["region", "handle"])
@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_an_iterable_that_closes_what_it_is_sent_through_ends_there_and_the_count_is_told(kind: str, end: str) -> None:
    world = World()
    tx: Any = world.tx if kind == "queue" else world.region.publisher("nobody")

    def items() -> Any:
        yield b"first"
        yield bytearray(b"second")
        (world.region if end == "region" else tx).close()
        yield b"third"

    with pytest.raises(ValueError, match="closed") as caught:
        tx.send_many(items())
    assert caught.value.sent == 2  # type: ignore[attr-defined]
    if end == "handle" and kind == "queue":
        assert [bytes(message) for message in world.rx.receive_many(9, 0)] == [b"first", b"second"]


def test_an_iterable_may_send_receive_and_delete_on_its_own() -> None:
    region, tx, rx = make()
    with region:

        def items() -> Any:
            yield b"1"
            tx.send(b"2")
            yield b"3"
            assert [bytes(message) for message in rx.receive_many(9, 0)] == [b"1", b"2", b"3"]
            region.delete_queue("q")
            yield b"4"

        with pytest.raises(shmq.QueueClosedError) as caught:
            tx.send_many(items())
        assert caught.value.sent == 2


def test_a_loan_that_an_iterable_uses_up_is_not_sent_twice() -> None:
    region, tx, rx = make()
    with region:
        loan = tx.loan(1)

        def items() -> Any:
            loan.send()
            yield loan

        with pytest.raises(ValueError, match="sent or discarded"):
            tx.send_many(items())
        assert rx.qsize() == 1
        rx.receive(0).release()


# ---- signal handlers in the middle of a wait -----------------------------------------------------------------


def while_it_waits(deed: Callable[[], Any], wait: Callable[[], Any]) -> Any:
    """What `wait` returns; `deed` is done by a signal handler once it waits."""
    before = signal.signal(signal.SIGALRM, lambda *_: deed())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return wait()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_publisher_that_waits_can_be_used_by_a_handler() -> None:
    region, _, _ = make()
    with region:
        tx, full, other = region.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        tx.send(b"0")

        def meddle() -> None:
            full.close()
            late = region.subscriber("t", depth=1)
            assert tx.send(b"inner", timeout=0) == 2
            assert [bytes(message) for message in late.receive_many(9, 0)] == [b"inner"]
            late.close()

        assert while_it_waits(meddle, lambda: tx.send(b"1")) == 1
        assert [(message.seq, bytes(message)) for message in other.receive_many(9, 0)] == [
            (0, b"0"),
            (1, b"1"),
            (2, b"inner"),
        ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("what", ["publish", "publish a loan", "forward", "forward to a topic", "send_many", "receive"])
def test_a_handler_that_closes_the_region_ends_any_wait(what: str) -> None:
    world = World()
    with pytest.raises(ValueError, match="closed"):
        while_it_waits(world.region.close, lambda: WITH_TIMEOUT[what](world, 20))
    assert shmq.list_regions() == []


def test_a_handler_finds_a_message_that_is_being_forwarded_used_up() -> None:
    world = World()
    seen = []

    def meddle() -> None:
        world.message.release()
        try:
            world.message.edit()
        except ValueError as error:
            seen.append(str(error))
        world.region.receiver("full").receive(0).release()

    with world.region:
        assert while_it_waits(meddle, lambda: world.message.forward(world.full)) is True
        assert len(seen) == 1
        assert "has been released" in seen[0]
        assert bytes(world.region.receiver("full").receive(0)) == b"abc"
        world.subscriber.receive(0).release()
