# SPDX-License-Identifier: MIT
"""What a full queue does: its sender waits, or the oldest or the newest message is dropped, counted and told."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import Partner, Thread, all_free, drain, held, is_asleep, small, until

import shmq
from shmq import Region

MIB = 1 << 20
DROPS = ["drop_oldest", "drop_newest"]
SLICE = 2.0  # seconds within which who waits has seen a death, on a busy machine; the slice itself is 50 ms


def numbers(receiver: shmq.Receiver) -> list[int]:
    """The messages there are, as numbers; all are released."""
    return [int.from_bytes(data, "big") for data in drain(receiver)]


def fill(tx: Any, first: int, last: int) -> list[Any]:
    """Send these numbers; what `send` returned."""
    return [tx.send(number.to_bytes(2, "big"), timeout=0) for number in range(first, last)]


def count_in_order(rx: shmq.Receiver, senders: list[Thread]) -> int:
    """Receive while threads send, until nothing is left; each one's numbers come in their order. How many came."""
    last, received = [-1] * len(senders), 0
    while any(one.is_alive() for one in senders) or rx.qsize():
        for message in rx.receive_many(3, 0) if rx.qsize() else []:
            number = int.from_bytes(message[1:], "big")
            assert number > last[message[0]]
            last[message[0]] = number
            received += 1
            message.release()
    return received


# ---- queues --------------------------------------------------------------------------------------------------


def test_drop_newest_keeps_what_is_queued_and_tells_the_sender() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=3), region.receiver("q", overflow="drop_newest")
        assert fill(tx, 0, 5) == [True, True, True, False, False]
        assert rx.dropped == 2
        assert [message.seq for message in rx.receive_many(9, 0)] == [0, 1, 2]
        assert fill(tx, 5, 6) == [True]
        with rx.receive(0) as message:
            assert (message.seq, bytes(message)) == (3, b"\0\5")  # nothing was posted in between: no gap
        assert all_free(region)


def test_drop_oldest_keeps_the_newest_and_leaves_gaps_in_seq() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=3), region.receiver("q", overflow="drop_oldest")
        assert fill(tx, 0, 8) == [True] * 8
        assert rx.dropped == 5
        messages = rx.receive_many(9, 0)
        assert [(message.seq, message[1]) for message in messages] == [(5, 5), (6, 6), (7, 7)]
        messages.clear()
        assert rx.dropped == 5
        assert all_free(region)


def test_a_blocking_queue_drops_nothing() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=2), region.receiver("q")
        fill(tx, 0, 2)
        with pytest.raises(shmq.Full):
            fill(tx, 2, 3)
        assert rx.dropped == 0
        assert numbers(rx) == [0, 1]


@pytest.mark.parametrize("overflow", DROPS)
@pytest.mark.parametrize("depth", [1, 2, 64, 65])
def test_a_full_queue_of_any_depth_keeps_exactly_its_depth(overflow: str, depth: int) -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=depth), region.receiver("q", overflow=overflow)
        for _ in range(3):
            fill(tx, 0, depth + 7)
            assert rx.qsize() == depth
            assert numbers(rx) == list(range(7, depth + 7) if overflow == "drop_oldest" else range(depth))
        assert rx.dropped == 21
        assert all_free(region)


@pytest.mark.parametrize("overflow", DROPS)
def test_a_dropping_queue_never_lets_a_sender_wait(overflow: str) -> None:
    with small() as region:
        tx, _rx = region.sender("q", depth=1), region.receiver("q", overflow=overflow)
        expected = overflow == "drop_oldest"
        tx.send(b"first")
        assert tx.send(b"x") is expected  # without end
        assert tx.send(bytearray(b"x"), timeout=60) is expected
        assert tx.send_nowait(b"x") is expected
        assert tx.send_many([b"x"] * 10) == 10 * expected
        assert tx.loan(3).send() is expected
        with tx.loan(3) as loan:
            pass
        with pytest.raises(ValueError, match="sent or discarded"):
            loan.send()
        assert region.stats()["queues"]["q"]["dropped"] == 15
        region.delete_queue("q")
        assert all_free(region)


@pytest.mark.parametrize("way", ["copied", "in place"])
def test_where_no_block_is_free_the_oldest_messages_make_room(way: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q", overflow="drop_oldest")
        nbytes = region.size // 8  # so that blocks are used up long before the queue is full
        for number in range(20):
            if way == "copied":
                assert tx.send(bytes([number]) * nbytes, timeout=0)
            else:
                loan = tx.loan(nbytes, timeout=0)
                loan[:] = bytes([number]) * nbytes
                assert loan.send(timeout=0)
        assert rx.dropped == 12
        assert [(message.seq, message[0]) for message in rx.receive_many(20, 0)] == [(n, n) for n in range(12, 20)]
        assert all_free(region)


def hold_most_of_it(link: Connection) -> None:
    region = small()
    kept = [region.sender("held").loan(region.size // 8) for _ in range(7)]
    link.send(len(kept))
    link.recv()


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_what_a_killed_process_held_is_given_back_before_a_message_is_dropped(
    start: Callable[..., Any], kind: str
) -> None:
    with small() as region:
        tx = region.sender("q") if kind == "queue" else region.publisher("q")
        rx = (region.receiver if kind == "queue" else region.subscriber)("q", overflow="drop_oldest")
        partner = Partner(start, hold_most_of_it)
        partner.hear()
        tx.send(b"first")
        partner.kill()
        until(lambda: [info.attached for info in shmq.list_regions()] == [1])
        assert tx.send(bytes(region.size // 4), timeout=0)
        assert rx.dropped == 0
        assert [len(data) for data in drain(rx)] == [5, region.size // 4]


def test_a_loan_that_cannot_be_drops_nothing() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q", overflow="drop_oldest")
        tx.send(b"one")
        with pytest.raises(ValueError, match="largest block"):
            tx.loan(region.size * 2)
        assert (drain(rx), rx.dropped) == ([b"one"], 0)


@pytest.mark.parametrize("overflow", ["block", "drop_newest"])
def test_other_queues_make_no_room(overflow: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q", overflow=overflow)
        nbytes = region.size // 8
        for number in range(8):
            assert tx.send(bytes([number]) * nbytes, timeout=0)
        with pytest.raises(shmq.OutOfBlocks, match="queues: 8 messages"):
            tx.send(bytes(nbytes), timeout=0)
        assert (rx.dropped, rx.qsize()) == (0, 8)
        assert [data[0] for data in drain(rx)] == list(range(8))


def test_a_loan_that_was_dropped_is_still_ones_own_and_can_be_written_on() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q", overflow="drop_newest")
        tx.send(b"in the way")
        loan = tx.loan(4)
        loan.array[:] = 1
        assert loan.send() is False
        assert loan.send_nowait() is False
        assert tx.send(loan) is False
        loan.array[:] = 2
        assert held(region) == (1, 0)
        assert rx.dropped == 3
        drain(rx)
        assert loan.send() is True
        assert drain(rx) == [b"\2\2\2\2"]


@pytest.mark.parametrize("first", ["block", *DROPS])
def test_the_first_receiver_fixes_the_policy_and_another_one_is_told(first: str) -> None:
    with small() as region:
        region.receiver("q", overflow=first).close()
        assert region.stats()["queues"]["q"]["overflow"] == first
        for other in {"block", *DROPS} - {first}:
            with pytest.raises(shmq.QueueInUseError) as caught:
                region.receiver("q", overflow=other)
            for part in ("'q'", f"overflow={first!r}", f"overflow={other!r}", "same for every receiver", "delete it"):
                assert part in str(caught.value)
        with pytest.raises(shmq.QueueInUseError, match=r"shared=False, .* asks for shared=True"):
            region.receiver("q", overflow=first, shared=True)
        region.receiver("q", overflow=first).close()
        region.delete_queue("q")
        assert region.receiver("q", overflow="drop_oldest").dropped == 0


def test_a_queue_made_anew_counts_from_nothing() -> None:
    with small() as region:
        for _ in range(3):
            tx, rx = region.sender("q", depth=1), region.receiver("q", overflow="drop_newest")
            fill(tx, 0, 4)
            assert rx.dropped == 3
            region.delete_queue("q")


def test_before_there_is_a_receiver_a_full_queue_lets_its_sender_wait() -> None:
    with small() as region:
        tx = region.sender("q", depth=1)
        tx.send(b"first")
        with pytest.raises(shmq.Full, match="no receiver is attached"):
            tx.send(b"second", timeout=0)
        rx = region.receiver("q", overflow="drop_oldest")
        assert tx.send(b"second", timeout=0) is True
        assert drain(rx) == [b"second"]


@pytest.mark.parametrize(("overflow", "sent", "left"), [("drop_newest", False, b"old"), ("drop_oldest", True, b"new")])
@pytest.mark.parametrize("what", ["bytes", "loan", "message"])
def test_a_policy_fixed_while_a_sender_waits_is_kept_by_that_sender(
    what: str, overflow: str, sent: bool, left: bytes
) -> None:
    with small() as region:
        tx = region.sender("q", depth=1)
        tx.send(b"old")
        region.sender("other").send(b"new")
        loan = tx.loan(3)
        loan[:] = b"new"
        message = region.receiver("other").receive(0)
        calls: dict[str, Callable[[], Any]] = {
            "bytes": lambda: tx.send(b"new"),
            "loan": loan.send,
            "message": lambda: message.forward(tx),
        }
        sending = Thread(calls[what])
        until(sending.is_asleep)
        rx = region.receiver("q", overflow=overflow)
        assert sending.result() is sent
        assert rx.dropped == 1
        assert drain(rx) == [left]
        loan.discard()
        message.release()
        assert all_free(region)


@pytest.mark.parametrize("overflow", DROPS)
def test_competing_receivers_share_a_dropping_queue(overflow: str) -> None:
    with small() as region:
        tx = region.sender("q", depth=2)
        receivers = [region.receiver("q", overflow=overflow, shared=True) for _ in range(2)]
        fill(tx, 0, 6)
        assert [receiver.dropped for receiver in receivers] == [4, 4]
        assert [receiver.receive(0)[1] for receiver in receivers] == ([4, 5] if overflow == "drop_oldest" else [0, 1])


def test_what_is_held_is_not_dropped() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q", overflow="drop_oldest")
        fill(tx, 0, 1)
        message = rx.receive(0)
        view = message.array
        fill(tx, 1, 50)
        assert bytes(view) == b"\0\0"
        assert (rx.dropped, numbers(rx)) == (48, [49])


@pytest.mark.parametrize("overflow", DROPS)
def test_what_is_neither_dropped_nor_received_is_accounted_for_when_many_send(overflow: str) -> None:
    with small() as region:
        rx = region.receiver("q", depth=4, overflow=overflow)
        count = 400

        def send(mark: int) -> int:
            tx = region.sender("q")
            return sum(tx.send(bytes([mark]) + number.to_bytes(2, "big"), timeout=20) for number in range(count))

        sending = [Thread(send, mark) for mark in range(3)]
        received = count_in_order(rx, sending)
        accepted = sum(one.result() for one in sending)
        assert received + rx.dropped == 3 * count
        assert accepted == (3 * count if overflow == "drop_oldest" else received)
        assert all_free(region)


# ---- topics --------------------------------------------------------------------------------------------------


def test_each_subscriber_has_a_policy_of_its_own() -> None:
    with small() as region:
        tx = region.publisher("t")
        oldest = region.subscriber("t", depth=2, overflow="drop_oldest")
        newest = region.subscriber("t", depth=2, overflow="drop_newest")
        block = region.subscriber("t", depth=9)
        assert fill(tx, 0, 2) == [3, 3]
        assert fill(tx, 2, 5) == [2, 2, 2]  # not the one that drops the newest
        assert (oldest.dropped, newest.dropped, block.dropped) == (3, 3, 0)
        assert [message.seq for message in oldest.receive_many(9, 0)] == [3, 4]
        assert numbers(block) == [0, 1, 2, 3, 4]
        assert [message.seq for message in newest.receive_many(9, 0)] == [0, 1]
        assert fill(tx, 5, 6) == [3]
        assert [message.seq for message in newest.receive_many(9, 0)] == [5]  # the gap tells what it has missed
        assert len(drain(oldest) + drain(block)) == 2
        assert all_free(region)


def test_where_no_block_is_free_the_slowest_subscriber_makes_room() -> None:
    with small() as region:
        tx = region.publisher("t")
        slow, quick = (region.subscriber("t", overflow="drop_oldest") for _ in range(2))
        nbytes = region.size // 8
        for number in range(20):
            assert tx.send(bytes([number]) * nbytes, timeout=0) == 2
            with quick.receive(0) as message:
                assert message[0] == number
        assert (slow.dropped, quick.dropped) == (12, 0)
        assert [data[0] for data in drain(slow)] == list(range(12, 20))
        assert all_free(region)


def test_a_subscriber_that_blocks_makes_no_room_and_costs_the_others_nothing() -> None:
    with small() as region:
        tx = region.publisher("t")
        patient, hasty = region.subscriber("t"), region.subscriber("t", overflow="drop_oldest")
        nbytes = region.size // 8
        for number in range(8):
            assert tx.send(bytes([number]) * nbytes, timeout=0) == 2
        with pytest.raises(shmq.OutOfBlocks, match="8"):
            tx.send(bytes(nbytes), timeout=0)
        for rx in patient, hasty:
            assert [data[0] for data in drain(rx)] == list(range(8))
        assert hasty.dropped == 0
        assert all_free(region)


def test_a_block_that_all_have_dropped_is_free_at_once() -> None:
    with small() as region:
        tx = region.publisher("t")
        subscribers = [region.subscriber("t", depth=1, overflow="drop_oldest") for _ in range(3)]
        for _ in range(5):
            assert tx.send(bytes(MIB // 2)) == 3  # the second takes the last of the memory, the third needs the first's
        assert [subscriber.dropped for subscriber in subscribers] == [4] * 3
        assert [len(drain(subscriber)) for subscriber in subscribers] == [1] * 3
        assert all_free(region)


def test_a_publish_that_was_reached_by_nobody_returns_0_and_keeps_no_block() -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t", depth=1, overflow="drop_newest")
        assert tx.send(b"kept") == 1
        assert tx.send(b"dropped") == 0
        loan = tx.loan(5)
        assert loan.send() == 0
        with pytest.raises(ValueError, match="sent or discarded"):
            loan.send()
        assert drain(rx) == [b"kept"]
        assert all_free(region)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_publish_that_times_out_says_how_many_it_reached_and_counts_the_others(timeout: float) -> None:
    with small() as region:
        tx = region.publisher("t")
        full, other = region.subscriber("t", depth=1), region.subscriber("t")
        assert tx.send(b"0", timeout=timeout) == 2
        for call in (
            lambda: tx.send(b"1", timeout=timeout),
            lambda: tx.loan(1).send(timeout=timeout),
        ):
            began = time.monotonic()
            assert call() == 1
            assert timeout <= time.monotonic() - began < timeout + 2
        assert (full.dropped, other.dropped) == (2, 0)
        assert drain(full) == [b"0"]
        assert tx.send(b"3", timeout=timeout) == 2
        assert [message.seq for message in full.receive_many(9, 0)] == [3]
        assert len(drain(other)) == 4
        assert all_free(region)


def test_a_slow_subscriber_holds_its_publisher_up_and_misses_nothing() -> None:
    with small() as region:
        tx, slow, fast = region.publisher("t"), region.subscriber("t", depth=1), region.subscriber("t")
        publishing = Thread(lambda: [tx.send(number.to_bytes(2, "big"), timeout=20) for number in range(50)])
        found = []
        for number in range(50):
            until(lambda number=number: fast.qsize() == min(number + 2, 50))  # it has what the slow one still waits for
            found.append(int.from_bytes(slow.receive(20).tobytes(), "big"))
        assert publishing.result() == [2] * 50
        assert found == numbers(fast) == list(range(50))


def subscribe_and_sleep(link: Connection) -> None:
    region = Region.attach("r")
    rx = region.subscriber("t", depth=1)
    link.send("subscribed")
    link.recv()
    print(rx)


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_a_full_subscriber_that_ends_lets_a_waiting_publisher_go_on_within_a_slice(
    start: Callable[..., Any], end: str
) -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        child = Partner(start, subscribe_and_sleep)
        child.hear()
        assert tx.send(b"first") == 2
        publishing = Thread(tx.send, b"second")
        until(publishing.is_asleep)
        began = time.monotonic()
        if end == "killed":
            child.kill()
        else:
            child.say("end")
        assert publishing.result() == 1
        assert time.monotonic() - began < SLICE
        if end == "closed":
            child.result()
        assert drain(rx) == [b"first", b"second"]
        assert tx.subscribers == 1


def test_a_stopped_subscriber_is_waited_for_and_its_timeouts_are_kept(start: Callable[..., Any]) -> None:
    with small() as region:
        tx, rx = region.publisher("t"), region.subscriber("t")
        child = Partner(start, subscribe_and_sleep)
        child.hear()
        until(lambda: is_asleep(child.pid))
        os.kill(child.pid, signal.SIGSTOP)
        assert [tx.send(b"x", timeout=0.1) for _ in range(3)] == [2, 1, 1]
        assert region.recover() == 0
        assert tx.subscribers == 2
        assert len(drain(rx)) == 3
        os.kill(child.pid, signal.SIGCONT)
        child.kill()
        assert tx.send(b"x", timeout=20) <= 2
        drain(rx)


@pytest.mark.parametrize("overflow", DROPS)
def test_what_a_subscriber_has_not_dropped_it_gets_in_order_when_many_publish(overflow: str) -> None:
    with small() as region:
        rx, steady = region.subscriber("t", depth=4, overflow=overflow), region.subscriber("t", depth=2000)
        count = 300

        def publish(mark: int) -> int:
            tx = region.publisher("t")
            return sum(tx.send(bytes([mark]) + number.to_bytes(2, "big"), timeout=20) for number in range(count))

        publishing = [Thread(publish, mark) for mark in range(3)]
        received = count_in_order(rx, publishing)
        reached = sum(one.result() for one in publishing)
        assert received + rx.dropped == 3 * count
        assert reached == 3 * count + (3 * count if overflow == "drop_oldest" else received)
        assert len(drain(steady)) == 3 * count
        assert all_free(region)
