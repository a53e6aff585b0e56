# SPDX-License-Identifier: MIT
"""Receivers: timeouts, iteration, claims on a queue, competing receivers, deletion."""

import gc
import os
import queue
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import BAD_TIMEOUTS, Partner, Thread, drain, small, until

import shmq
from shmq import Region

# ---- empty -------------------------------------------------------------------------------------------------


def test_an_empty_queue_says_its_name_and_its_depth() -> None:
    with small() as region:
        rx = region.receiver("q", depth=3)
        for call in (rx.receive_nowait, lambda: rx.receive(0), lambda: rx.receive(timeout=0.0)):
            with pytest.raises(shmq.Empty) as caught:
                call()
            for part in ("'q'", "depth 3", "empty"):
                assert part in str(caught.value)
            assert isinstance(caught.value, queue.Empty)


@pytest.mark.parametrize("timeout", [0, 1e-9, 0.01, 0.15])
def test_an_empty_queue_is_waited_for_as_long_as_the_timeout_says(timeout: float) -> None:
    with small() as region:
        began = time.monotonic()
        with pytest.raises(shmq.Empty):
            region.receiver("q").receive(timeout)
        assert timeout <= time.monotonic() - began < timeout + 2


@pytest.mark.parametrize("timeout", BAD_TIMEOUTS)
def test_a_bad_timeout_is_refused_whether_or_not_there_is_a_wait(timeout: float) -> None:
    with small() as region:
        rx = region.receiver("q")
        with pytest.raises(ValueError, match="timeout"):
            rx.receive(timeout)
        region.sender("q").send(b"x")
        with pytest.raises(ValueError, match="timeout"):
            rx.receive(timeout)
        assert drain(rx) == [b"x"]


@pytest.mark.parametrize("timeout", ["1", b"", [], object()])
def test_a_timeout_is_a_number(timeout: Any) -> None:
    with small() as region, pytest.raises(TypeError):
        region.receiver("q").receive(timeout)


def send_when_told(link: Connection) -> None:
    with Region.attach("r") as region:
        tx = region.sender("q")
        link.send("ready")
        while (data := link.recv()) is not None:
            tx.send(data)


@pytest.mark.parametrize("spin", [None, 0, 0.001, float("inf")])
def test_a_wait_ends_when_another_process_sends(start: Callable[..., Any], spin: float | None) -> None:
    with small() as region:
        child = Partner(start, send_when_told)
        rx = region.receiver("q", spin=spin)
        child.hear()
        for timeout in (None, 20, 1e12):
            receiving = Thread(lambda timeout=timeout: bytes(rx.receive(timeout)))
            if not spin:
                until(receiving.is_asleep)
            child.say(str(timeout).encode())
            assert receiving.result() == str(timeout).encode()
        child.say(None)
        child.result()


@pytest.mark.parametrize("spin", [-1, -1e-9, float("nan")])
def test_a_spin_below_nothing_is_refused(spin: float) -> None:
    with small() as region:
        with pytest.raises(ValueError, match="spin"):
            region.receiver("q", spin=spin)
        region.receiver("q")


@pytest.mark.parametrize("overflow", ["drop", "Block", "", "block "])
def test_a_policy_that_is_not_there_is_refused(overflow: str) -> None:
    with small() as region, pytest.raises(ValueError, match="overflow"):
        region.receiver("q", overflow=overflow)


# ---- iteration ---------------------------------------------------------------------------------------------


def test_a_loop_over_a_receiver_ends_at_shutdown_once_all_is_received() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for number in range(3):
            tx.send(bytes([number]))
        tx.shutdown()
        assert [message[0] for message in rx] == [0, 1, 2]
        assert list(rx) == []
        with pytest.raises(shmq.ShutDown, match="'q'"):
            rx.receive_nowait()


def test_shutdown_ends_a_loop_that_waits() -> None:
    with small() as region:
        rx = region.receiver("q")
        loop = Thread(lambda: [bytes(message) for message in rx])
        until(loop.is_asleep)
        region.sender("q").shutdown()
        assert loop.result() == []


# ---- claims ------------------------------------------------------------------------------------------------


def test_a_second_claim_names_the_queue_its_holder_and_the_way_to_share() -> None:
    with small(process="first") as region, Region.attach("r") as other:
        rx = region.receiver("q")
        for place in (region, other):
            with pytest.raises(shmq.QueueInUseError) as caught:
                place.receiver("q")
            for part in ("'q'", "'first'", f"pid {os.getpid()}", "shared=True"):
                assert part in str(caught.value)
        region.sender("q").send(b"x")
        assert drain(rx) == [b"x"]


def claim_and_wait(link: Connection) -> None:
    with Region.attach("r", process="child") as region:
        region.receiver("q")
        rx = region.receiver("q/kept")
        link.send("claimed")
        link.recv()
        rx.close()


def test_a_second_claim_from_another_process_names_that_process(start: Callable[..., Any]) -> None:
    with small() as region:
        child = Partner(start, claim_and_wait)
        child.hear()
        with pytest.raises(shmq.QueueInUseError, match=rf"'child' \(pid {child.pid}"):
            region.receiver("q/kept")
        region.receiver("q")  # dropped there, free here
        child.say("done")
        child.result()
        region.receiver("q/kept")


def test_a_claim_ends_with_its_handle_however_that_ends() -> None:
    with small() as region:
        for _ in range(3):
            region.receiver("q").close()
            with region.receiver("q") as rx:
                assert region.stats()["queues"]["q"]["claimed"]
            assert rx.closed
            region.receiver("q")  # dropped
        assert not region.stats()["queues"]["q"]["claimed"]
        with Region.attach("r") as other:
            kept = other.receiver("q")
        assert kept.closed
        region.receiver("q")


def test_a_receiver_in_a_reference_cycle_gives_its_claim_up_when_that_is_collected() -> None:
    with small() as region:
        for make in (lambda: region.receiver("q"), lambda: region.subscriber("t")):
            box: list[Any] = [make()]
            box.append(box)
            del box
            gc.collect()
        region.receiver("q")
        assert region.publisher("t").subscribers == 0


def test_a_late_close_does_not_take_anothers_claim_away() -> None:
    with small() as region:
        first = region.receiver("q")
        first.close()
        second = region.receiver("q")
        first.close()
        del first
        with pytest.raises(shmq.QueueInUseError):
            region.receiver("q")
        second.close()


def test_a_handle_on_a_deleted_queue_does_not_take_the_claim_on_its_successor_away() -> None:
    with small() as region, Region.attach("r") as other:
        outdated = region.receiver("q")
        other.delete_queue("q")
        current = region.receiver("q")
        outdated.close()
        with pytest.raises(shmq.QueueInUseError):
            other.receiver("q")
        current.close()
        other.receiver("q")


def test_closing_a_region_gives_its_claims_up_although_a_view_pins_it() -> None:
    with small() as region:
        other = Region.attach("r")
        rx = other.receiver("q")
        region.sender("q").send(b"pinned")
        view = rx.receive().memoryview
        other.close()
        region.sender("q").send(b"next")
        assert drain(region.receiver("q")) == [b"next"]
        assert bytes(view) == b"pinned"
        view.release()


def test_a_queue_is_shared_by_all_its_receivers_or_by_none() -> None:
    with small() as region:
        shared = region.receiver("shared", shared=True)
        assert shared.shared
        with pytest.raises(shmq.QueueInUseError, match="first received with shared=True"):
            region.receiver("shared")
        single = region.receiver("single")
        assert not single.shared
        with pytest.raises(shmq.QueueInUseError, match="shared=False, overflow='block', this asks for shared=True"):
            region.receiver("single", shared=True)
        single.close()
        with pytest.raises(shmq.QueueInUseError):
            region.receiver("single", shared=True)
        region.delete_queue("single")
        region.receiver("single", shared=True)


# ---- competing receivers -----------------------------------------------------------------------------------


def receive_shared(link: Connection) -> list[int]:
    with Region.attach("r") as region:
        rx = region.receiver("work", shared=True)
        link.send("ready")
        found = []
        for message in rx:
            with message:
                found.append(int.from_bytes(bytes(message), "big"))
        return found


def test_shared_receivers_in_several_processes_get_each_message_once(start: Callable[..., Any]) -> None:
    with small() as region:
        tx = region.sender("work", depth=64)
        children = [Partner(start, receive_shared) for _ in range(3)]
        for child in children:
            child.hear()
        for number in range(5000):
            tx.send(number.to_bytes(4, "big"), timeout=20)
        tx.shutdown()
        shares = [child.result() for child in children]
        assert Counter(number for share in shares for number in share) == Counter(range(5000))
        assert all(share == sorted(share) for share in shares)


def test_shared_receivers_in_several_threads_get_each_message_once() -> None:
    with small() as region:
        tx = region.sender("work", depth=64)

        def work() -> list[bytes]:
            return [bytes(message) for message in region.receiver("work", shared=True)]

        workers = [Thread(work) for _ in range(4)]
        for number in range(2000):
            tx.send(number.to_bytes(4, "big"), timeout=20)
        tx.shutdown()
        found = [data for worker in workers for data in worker.result()]
        assert sorted(found) == [number.to_bytes(4, "big") for number in range(2000)]


def test_one_receiver_in_several_threads_gives_each_message_to_one() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=64), region.receiver("q")
        workers = [Thread(lambda: [bytes(message) for message in rx]) for _ in range(4)]
        for number in range(2000):
            tx.send(number.to_bytes(4, "big"), timeout=20)
        tx.shutdown()
        found = [data for worker in workers for data in worker.result()]
        assert sorted(found) == [number.to_bytes(4, "big") for number in range(2000)]


def test_many_messages_can_be_held_at_once_and_released_in_any_order() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for number in range(500):
            tx.send(number.to_bytes(2, "big"))
        messages = [rx.receive(0) for _ in range(500)]
        assert len({message.offset for message in messages}) == 500
        for message in messages[::2] + messages[1::2][::-1]:
            message.release()
        with tx.loan(1 << 20) as loan:
            loan.discard()


# ---- deletion ----------------------------------------------------------------------------------------------


def test_deleting_a_queue_frees_its_messages_and_closes_its_handles() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for _ in range(10):
            tx.send(bytes(5000))
        message = rx.receive()
        region.delete_queue("q")
        assert bytes(message) == bytes(5000)
        message.release()
        for call in (lambda: tx.send(b"x"), rx.receive, rx.receive_nowait, lambda: next(rx), tx.shutdown):
            with pytest.raises(shmq.QueueClosedError, match="'q' was deleted"):
                call()
        assert region.stats()["queues"] == {}
        region.sender("q").send(b"new")
        assert drain(region.receiver("q")) == [b"new"]
        rx.close()
        with tx.loan(1 << 20) as loan:
            loan.discard()


def test_deleting_a_queue_wakes_whoever_waits_at_it() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q")
        receiving = Thread(rx.receive)
        until(receiving.is_asleep)
        region.delete_queue("q")
        with pytest.raises(shmq.QueueClosedError):
            receiving.result()
        tx = region.sender("q", depth=1)
        tx.send(b"x")
        sending = Thread(tx.send, b"y")
        until(sending.is_asleep)
        region.delete_queue("q")
        with pytest.raises(shmq.QueueClosedError):
            sending.result()


def test_deleting_a_queue_that_is_not_there_says_so() -> None:
    with small() as region, pytest.raises(ValueError, match="'r' has no queue 'none'"):
        region.delete_queue("none")


def test_a_deleted_queue_can_be_made_anew_any_number_of_times() -> None:
    with small(max_queues=1) as region:
        for depth in range(1, 400):
            tx = region.sender("q", depth=depth)
            tx.send(b"x")
            assert tx.depth == depth
            region.delete_queue("q")


# ---- close -------------------------------------------------------------------------------------------------


def test_a_closed_receiver_refuses_and_the_queue_stays() -> None:
    with small() as region:
        rx = region.receiver("q")
        region.sender("q").send(b"stays")
        rx.close()
        rx.close()
        assert rx.closed
        for call in (rx.receive, rx.receive_nowait, rx.qsize, rx.__enter__, lambda: next(rx)):
            with pytest.raises(ValueError, match="receiver of queue 'q' has been closed"):
                call()
        assert drain(region.receiver("q")) == [b"stays"]


def test_handles_tell_their_region_and_queue() -> None:
    with small() as region:
        for handle in (region.sender("a/b"), region.receiver("a/b")):
            assert handle.region is region
            assert handle.queue == "a/b"
            for attribute in ("region", "queue", "depth", "closed"):
                with pytest.raises(AttributeError):
                    setattr(handle, attribute, None)


# ---- many at once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "got"), [(1, 1), (3, 3), (10, 10), (11, 10), (1 << 40, 10)])
def test_receive_many_takes_what_is_there_up_to_a_number_oldest_first(most: int, got: int) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for number in range(10):
            tx.send(bytes([number]), label=number)
        messages = rx.receive_many(most, 0)
        assert [message.label for message in messages] == list(range(got))
        assert rx.qsize() == 10 - got
        for message in messages:
            message.release()
        drain(rx)


def test_receive_many_waits_for_the_first_only() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for timeout in (0, 0.02):
            with pytest.raises(shmq.Empty):
                rx.receive_many(5, timeout)
        waiting = Thread(lambda: [bytes(message) for message in rx.receive_many(5)])
        until(waiting.is_asleep)
        tx.send(b"first")
        assert waiting.result() == [b"first"]
        tx.send(b"last")
        tx.shutdown()
        assert [bytes(message) for message in rx.receive_many(5)] == [b"last"]
        with pytest.raises(shmq.ShutDown):
            rx.receive_many(5)


@pytest.mark.parametrize("most", [0, -1])
def test_receive_many_of_none_is_refused(most: int) -> None:
    with small() as region, pytest.raises(ValueError, match=f"most is {most}"):
        region.receiver("q").receive_many(most, 0)


@pytest.mark.parametrize("most", [1.5, "1", None])
def test_receive_many_takes_a_whole_number(most: Any) -> None:
    with small() as region, pytest.raises(TypeError):
        region.receiver("q").receive_many(most, 0)


# ---- whole -------------------------------------------------------------------------------------------------


def send_checked(link: Connection, seed: int, count: int) -> None:
    generator = random.Random(seed)
    with Region.attach("r") as region:
        tx = region.sender("q")
        link.recv()
        for _ in range(count):
            data = generator.randbytes(generator.choice([0, 1, 63, 500, 4000, 30_000]))
            if generator.random() < 0.5:
                tx.send(data, label=zlib.crc32(data), timeout=20)
            else:
                with tx.loan(len(data), label=zlib.crc32(data), timeout=20) as loan:
                    loan[:] = data


def receive_checked(link: Connection) -> tuple[int, int]:
    with Region.attach("r") as region:
        rx = region.receiver("q", shared=True)
        link.send("ready")
        good = bad = 0
        for message in rx:
            with message:
                whole = zlib.crc32(message) == message.label
                good, bad = good + whole, bad + (not whole)
        return good, bad


def test_what_several_processes_send_to_several_others_arrives_whole(start: Callable[..., Any]) -> None:
    with small() as region:
        receivers = [Partner(start, receive_checked) for _ in range(2)]
        senders = [Partner(start, send_checked, seed, 1500) for seed in range(2)]
        for receiver in receivers:
            receiver.hear()
        for sender in senders:
            sender.say("go")
        for sender in senders:
            sender.result()
        region.sender("q").shutdown()
        results = [receiver.result() for receiver in receivers]
        assert sum(good for good, _ in results) == 3000
        assert sum(bad for _, bad in results) == 0
        region.sender("other").loan(region.size).discard()
