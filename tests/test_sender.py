# SPDX-License-Identifier: MIT
"""Senders: what can be sent, in which order, and what a full queue or an empty region does."""

import array
import os
import queue
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import BAD_LABELS, BAD_TIMEOUTS, Partner, Thread, drain, held, small, until

import shmq
from shmq import Region

MIB = 1 << 20

# ---- what is sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"abc" * 1000, bytearray(b"mutable"), memoryview(b"view"), memoryview(b"0123456789")[2:5], bytes(MIB)],
)
def test_bytes_arrive_as_they_were_sent(data: Any) -> None:
    with small() as region:
        rx = region.receiver("q")
        assert region.sender("q").send(data) is True
        with rx.receive(0) as message:
            assert bytes(message) == bytes(data)
            assert len(message) == message.nbytes == len(data)


def test_a_change_after_the_send_is_not_seen() -> None:
    with small() as region:
        data = bytearray(b"before")
        region.sender("q").send(data)
        data[:] = b"after!"
        assert drain(region.receiver("q")) == [b"before"]


def test_every_second_byte_of_a_buffer_arrives_in_one_piece() -> None:
    with small() as region:
        region.sender("q").send(memoryview(b"0123456789")[::2])
        assert drain(region.receiver("q")) == [b"02468"]


def test_a_typed_buffer_arrives_with_its_type() -> None:
    with small() as region:
        rx = region.receiver("q")
        region.sender("q").send(array.array("d", [1.5, -2.5]))
        with rx.receive(0) as message, message.memoryview as view:
            assert view.format == "d"
            assert view.tolist() == [1.5, -2.5]


@pytest.mark.parametrize("data", ["text", 5, None, object(), ["list"], {"a": 1}])
def test_what_has_no_buffer_is_refused_and_costs_nothing(data: Any) -> None:
    with small() as region:
        tx = region.sender("q")
        with pytest.raises(TypeError):
            tx.send(data)
        assert tx.qsize() == 0
        assert held(region) == (0, 0)


def test_more_than_any_block_holds_is_refused_with_both_sizes() -> None:
    with small() as region:
        tx = region.sender("q")
        for call in (lambda: tx.send(bytes(MIB + 1)), lambda: tx.send(bytearray(MIB + 1)), lambda: tx.loan(MIB + 1)):
            with pytest.raises(ValueError, match="largest block") as caught:
                call()
            for part in (str(MIB + 1), str(MIB), "pieces"):
                assert part in str(caught.value)


# ---- many at once ------------------------------------------------------------------------------------------


def test_send_many_sends_every_kind_in_order_and_counts() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        items = [b"one", bytearray(b"two"), array.array("B", b"three"), memoryview(b"four")]
        assert tx.send_many(items, label=7) == 4
        assert tx.send_many(item for item in (b"five", b"six")) == 2
        assert tx.send_many([]) == 0
        messages = rx.receive_many(10, 0)
        assert [bytes(message) for message in messages] == [b"one", b"two", b"three", b"four", b"five", b"six"]
        assert [message.label for message in messages] == [7] * 4 + [0] * 2
        for message in messages:
            message.release()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_send_many_into_a_full_queue_says_how_many_it_has_queued(timeout: float) -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=4), region.receiver("q")
        items = [bytes([number]) for number in range(6)]
        with pytest.raises(shmq.Full) as caught:
            tx.send_many(items, timeout=timeout)
        assert caught.value.sent == 4
        assert drain(rx) == items[:4]
        assert tx.send_many(items[caught.value.sent :], timeout=timeout) == 2
        assert drain(rx) == items[4:]


def test_send_many_waits_for_room() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=2), region.receiver("q")
        sending = Thread(lambda: tx.send_many([bytes([number]) for number in range(100)], timeout=60))
        assert [rx.receive(60).tobytes()[0] for _ in range(100)] == list(range(100))
        assert sending.result() == 100


def test_send_many_waits_no_longer_than_its_timeout_for_all_together() -> None:
    with small() as region:
        tx = region.sender("q", depth=2)

        def slowly() -> Iterator[bytes]:
            start = time.monotonic()
            while time.monotonic() < start + 0.05:
                pass
            yield from [b"x"] * 3

        with pytest.raises(shmq.Full) as caught:
            tx.send_many(slowly(), timeout=0.01)
        assert caught.value.sent == 2
        drain(region.receiver("q"))


@pytest.mark.parametrize("bad", [5, "text", None])
def test_an_item_that_cannot_be_sent_stops_send_many_there(bad: Any) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        with pytest.raises(TypeError) as caught:
            tx.send_many([b"first", bad, b"never"])
        assert caught.value.sent == 1  # type: ignore[attr-defined]
        assert drain(rx) == [b"first"]
        with pytest.raises(TypeError):
            tx.send_many(bad)
        assert held(region) == (0, 0)


def test_a_region_closed_by_the_iterable_stops_send_many() -> None:
    with small() as region:
        tx = region.sender("q")

        def closing() -> Iterator[bytes]:
            yield b"first"
            drain(region.receiver("q"))
            region.close()
            yield b"second"

        with pytest.raises(ValueError, match="closed") as caught:
            tx.send_many(closing())
        assert caught.value.sent == 1  # type: ignore[attr-defined]


# ---- labels, depths, names, timeouts -------------------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 1, (1 << 32) - 1, True])
def test_a_label_travels_with_the_message(label: int) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(b"x", label=label)
        tx.send_nowait(bytearray(b"x"), label=label)
        tx.loan(1, label=label).send()
        for _ in range(3):
            with rx.receive(0) as message:
                assert message.label == label


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_label_out_of_range_is_refused_with_its_range(label: int) -> None:
    with small() as region:
        tx = region.sender("q")
        for call in (tx.send, tx.send_nowait):
            with pytest.raises(ValueError, match="label") as caught:
                call(b"x", label=label)
            assert str(label) in str(caught.value)
        with pytest.raises(ValueError, match="label"):
            tx.loan(5, label=label)
        assert held(region) == (0, 0)


@pytest.mark.parametrize("label", ["7", 1.5, None, b""])
def test_a_label_is_a_whole_number(label: Any) -> None:
    with small() as region, pytest.raises(TypeError):
        region.sender("q").send(b"x", label=label)


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 64, 1000])
def test_a_queue_holds_exactly_its_depth(depth: int) -> None:
    with small() as region:
        tx = region.sender("q", depth=depth)
        assert tx.depth == region.receiver("q").depth == depth
        for number in range(depth):
            tx.send_nowait(number.to_bytes(2, "big"))
        with pytest.raises(shmq.Full):
            tx.send_nowait(b"one too many")
        assert tx.qsize() == depth
        rx = region.receiver("q")
        assert [int.from_bytes(data, "big") for data in drain(rx)] == list(range(depth))
        assert tx.qsize() == 0


def test_the_deepest_queue_takes_65536_messages() -> None:
    with shmq.open("r", size="33MiB") as region:
        tx, rx = region.sender("q", depth=65536), region.receiver("q")
        for _ in range(65536):
            tx.send(b"", timeout=0)
        with pytest.raises(shmq.Full, match="65536"):
            tx.send_nowait(b"")
        for _ in range(65536):
            rx.receive(0).release()


@pytest.mark.parametrize("depth", [0, -1, 65537, 1 << 70])
def test_a_depth_out_of_range_is_refused(depth: int) -> None:
    with small() as region:
        for call in (region.sender, region.receiver):
            with pytest.raises(ValueError, match="depth") as caught:
                call("q", depth=depth)
            assert "65536" in str(caught.value)
        assert region.stats()["queues"] == {}


def test_who_comes_second_finds_the_depth_that_is_there() -> None:
    with small() as region:
        assert region.receiver("q", depth=5).depth == 5
        assert region.sender("q", depth=9).depth == 5
        assert region.sender("q").depth == 5


@pytest.mark.parametrize("name", ["q", "a/b/c", "0", "x" * 100, "..", "/"])
def test_a_queue_may_be_called(name: str) -> None:
    with small() as region:
        if name == "..":  # a name, not a path, but a dot alone is refused as for regions
            with pytest.raises(ValueError, match="queue name"):
                region.sender(name)
            return
        tx, rx = region.sender(name), region.receiver(name)
        assert tx.queue == rx.queue == name
        tx.send(b"x")
        assert drain(rx) == [b"x"]


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "ö", "a\0", "a\n"])
def test_a_queue_may_not_be_called(name: str) -> None:
    with small() as region:
        for call in (region.sender, region.receiver, region.delete_queue):
            with pytest.raises(ValueError, match="queue name"):
                call(name)


@pytest.mark.parametrize("name", [None, 5, b"q"])
def test_a_queue_name_is_a_text(name: Any) -> None:
    with small() as region:
        for call in (region.sender, region.receiver, region.delete_queue):
            with pytest.raises(TypeError):
                call(name)


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_a_bad_timeout_is_refused_whether_or_not_there_is_a_wait(timeout: float) -> None:
    with small() as region:
        tx = region.sender("q", depth=1)
        loan = tx.loan(1)
        for _ in range(2):  # with space, and in a full queue
            for call in (tx.send, tx.loan):
                with pytest.raises(ValueError, match="timeout"):
                    call(b"x" if call == tx.send else 1, timeout=timeout)
            with pytest.raises(ValueError, match="timeout"):
                loan.send(timeout=timeout)
            if tx.qsize() == 0:
                tx.send(b"x")
        loan.discard()
        assert drain(region.receiver("q")) == [b"x"]


# ---- order -----------------------------------------------------------------------------------------------


def test_messages_arrive_in_the_order_of_their_sending_with_growing_seq() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=16), region.receiver("q")
        numbers = []
        for turn in range(5):  # several times round the ring
            for number in range(16):
                tx.send(bytes([turn, number]))
            while tx.qsize():
                with rx.receive(0) as message:
                    numbers.append((message.seq, bytes(message)))
        assert numbers == [(turn * 16 + number, bytes([turn, number])) for turn in range(5) for number in range(16)]


def test_each_of_several_sending_threads_keeps_its_order() -> None:
    with small() as region:
        rx = region.receiver("q", depth=8)
        tx = region.sender("q")

        def send(who: int) -> None:
            for number in range(300):
                tx.send(bytes([who]) + number.to_bytes(2, "big"), timeout=20)

        threads = [Thread(send, who) for who in range(4)]
        found: dict[int, list[int]] = {who: [] for who in range(4)}
        for _ in range(1200):
            with rx.receive(20) as message:
                found[message[0]].append(int.from_bytes(message[1:3], "big"))
        for thread in threads:
            thread.result()
        assert all(numbers == list(range(300)) for numbers in found.values())


# ---- full --------------------------------------------------------------------------------------------------


def test_a_full_queue_says_its_name_its_depth_and_whether_anyone_receives() -> None:
    with small() as region:
        tx = region.sender("q", depth=2)
        tx.send(b"1")
        tx.send(b"2")
        with pytest.raises(shmq.Full, match="no receiver is attached") as caught:
            tx.send_nowait(b"3")
        for part in ("'q'", "2 messages", "timeout", "depth"):
            assert part in str(caught.value)
        assert isinstance(caught.value, queue.Full)
        rx = region.receiver("q")
        with pytest.raises(shmq.Full) as caught:
            tx.send(b"3", timeout=0)
        assert "no receiver" not in str(caught.value)
        assert drain(rx) == [b"1", b"2"]


def test_a_full_queue_is_waited_for_as_long_as_the_timeout_says_and_nothing_is_lost() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q")
        tx.send(b"first")
        for timeout, call in ((0, tx.send), (0.05, tx.send), (0.2, tx.send)):
            began = time.monotonic()
            with pytest.raises(shmq.Full, match="in time" if timeout else "holds its"):
                call(b"second", timeout=timeout)
            assert timeout <= time.monotonic() - began < timeout + 2
        loan = tx.loan(6)
        loan[:] = b"second"
        for refused in (lambda: loan.send(timeout=0.02), loan.send_nowait):
            with pytest.raises(shmq.Full):
                refused()
        assert held(region)[0] == 1
        assert drain(rx) == [b"first"]
        assert loan.send() is True
        assert drain(rx) == [b"second"]
        assert held(region) == (0, 0)


def receive_once_told(link: Connection) -> list[bytes]:
    with Region.attach("r") as region:
        rx = region.receiver("q")
        link.send("ready")
        found = []
        while link.recv():
            found += [bytes(rx.receive(20))]
        return found


@pytest.mark.parametrize("timeout", [None, 20])
def test_a_send_that_waits_goes_on_when_another_process_receives(start: Callable[..., Any], timeout: Any) -> None:
    with small() as region:
        child = Partner(start, receive_once_told)
        tx = region.sender("q", depth=1)
        tx.send(b"0")
        child.hear()
        for number in range(1, 4):
            sending = Thread(tx.send, str(number).encode())
            until(sending.is_asleep)
            child.say(True)
            assert sending.result() is True
        loan = tx.loan(1)
        loan[0] = ord("4")
        sending = Thread(loan.send, timeout)
        until(sending.is_asleep)
        child.say(True)
        sending.result()
        child.say(True)
        child.say(False)
        assert child.result() == [b"0", b"1", b"2", b"3", b"4"]


# ---- out of blocks ---------------------------------------------------------------------------------------


def test_out_of_blocks_in_ones_own_hands_is_told_at_once_even_without_a_timeout() -> None:
    with small(process="hoarder") as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(bytes(1000))
        message = rx.receive()
        loans = [tx.loan(MIB // 4) for _ in range(3)]
        for call in (
            lambda: tx.loan(MIB // 2),
            lambda: tx.send(bytes(MIB // 2)),
            lambda: tx.loan(MIB // 2, timeout=20),
        ):
            began = time.monotonic()
            with pytest.raises(shmq.OutOfBlocks) as caught:
                call()
            assert time.monotonic() - began < 5
            text = str(caught.value)
            for part in (str(MIB // 2), "'hoarder'", f"pid {os.getpid()}", "3 loans", "1 messages held", "release"):
                assert part in text
        assert isinstance(caught.value, MemoryError)
        for loan in loans:
            loan.discard()
        message.release()
        tx.send(bytes(MIB), timeout=0)
        rx.receive(0).release()


def test_out_of_blocks_names_what_lies_in_queues() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(bytes(MIB // 2))
        with pytest.raises(shmq.OutOfBlocks, match="queues: 1 messages, 512 KiB"):
            tx.loan(MIB, timeout=0)
        assert len(drain(rx)) == 1


def hold_until_told(link: Connection) -> None:
    with Region.attach("r", process="holder") as region:
        message = region.receiver("q").receive(20)
        link.send("held")
        while link.recv():
            message.release()
        message.release()


def test_out_of_blocks_in_another_process_is_waited_for_and_names_it(start: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.sender("q")
        tx.send(bytes(MIB))
        child = Partner(start, hold_until_told)
        child.hear()
        for timeout in (0, 0.1):
            began = time.monotonic()
            holder = rf"'holder' \(pid {child.pid}, slot 1\): 0 loans, 1 messages held"
            with pytest.raises(shmq.OutOfBlocks, match=holder):
                tx.loan(1000, timeout=timeout)
            assert timeout <= time.monotonic() - began < timeout + 2
        sending = Thread(tx.send, bytes(MIB))
        until(sending.is_asleep)
        child.say(True)
        assert sending.result() is True
        child.say(False)
        child.result()
        assert len(drain(region.receiver("q"))) == 1


def test_blocks_that_an_idle_process_only_keeps_at_hand_are_not_waited_for_without_end() -> None:
    with small() as region, Region.attach("r", process="idle") as other:
        other.sender("q").send(b"x")  # takes a few blocks more than it needs, and keeps them
        assert drain(region.receiver("q")) == [b"x"]
        assert any(info.cached for info in other.processes() if info.name == "idle")
        with pytest.raises(shmq.OutOfBlocks, match=r"'idle' .* 0 loans, 0 messages held, [1-9]\d* cached"):
            region.sender("q").loan(region.size)
        other.close()
        region.sender("q").loan(region.size).discard()


# ---- shut down, close ------------------------------------------------------------------------------------


def test_after_shutdown_nothing_can_be_sent_and_what_is_queued_still_arrives() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(b"queued")
        loan = tx.loan(1)
        tx.shutdown()
        tx.shutdown()
        for call in (lambda: tx.send(b"x"), lambda: tx.send_nowait(bytearray(b"x")), loan.send, loan.send_nowait):
            with pytest.raises(shmq.ShutDown, match="'q' has been shut down"):
                call()
        loan.discard()
        assert [bytes(message) for message in rx] == [b"queued"]
        assert held(region) == (0, 0)


def test_shutdown_with_immediate_drops_what_is_queued() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for _ in range(10):
            tx.send(bytes(1000))
        tx.shutdown(immediate=True)
        assert rx.qsize() == 0
        with pytest.raises(shmq.ShutDown):
            rx.receive()
        with tx.loan(MIB) as loan:
            loan.discard()


def test_shutdown_wakes_a_send_that_waits() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q")
        tx.send(b"x")
        sending = Thread(tx.send, b"y")
        until(sending.is_asleep)
        region.sender("q").shutdown()
        with pytest.raises(shmq.ShutDown):
            sending.result()
        assert drain(rx) == [b"x"]


def test_a_closed_sender_refuses_and_leaves_the_queue_as_it_is() -> None:
    with small() as region:
        tx = region.sender("q")
        tx.send(b"stays")
        with tx as same:
            assert same is tx
        tx.close()
        assert tx.closed
        for call in (lambda: tx.send(b"x"), lambda: tx.loan(1), tx.qsize, tx.shutdown, tx.__enter__):
            with pytest.raises(ValueError, match="sender of queue 'q' has been closed"):
                call()
        assert drain(region.receiver("q")) == [b"stays"]


def test_a_loan_outlives_its_senders_handle_but_cannot_be_sent_through_it() -> None:
    with small() as region:
        tx = region.sender("q")
        loan = tx.loan(4)
        tx.close()
        with pytest.raises(ValueError, match="closed"):
            loan.send()
        loan.discard()
        assert held(region) == (0, 0)
