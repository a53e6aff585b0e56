# SPDX-License-Identifier: MIT
"""Waiting: no wake is missed, nobody waits longer than needed, and who waits costs next to no processor time."""

import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest
from helpers import AT_ONCE, Partner, Thread, drain, small, until

import shmq
from shmq import Region

ROUNDS = 2000


def echo(link: Connection, spin: float | None) -> int:
    """Send back what comes, until the queue is shut down."""
    with Region.attach("r") as region:
        rx, tx = region.receiver("there", spin=spin), region.sender("back")
        link.send("ready")
        count = 0
        for message in rx:
            with message:
                tx.send(bytes(message), timeout=20)
            count += 1
        return count


@pytest.mark.parametrize("spin", [None, 0, 0.00002])
def test_no_wake_is_missed_in_thousands_of_round_trips(start: Callable[..., Any], spin: float | None) -> None:
    with small() as region:
        child = Partner(start, echo, spin)
        child.hear()
        tx, rx = region.sender("there"), region.receiver("back", spin=spin)
        slow = 0
        for number in range(ROUNDS):
            began = time.monotonic()
            tx.send(number.to_bytes(4, "big"), timeout=20)
            with rx.receive(20) as message:
                assert bytes(message) == number.to_bytes(4, "big")
            slow += time.monotonic() - began > 0.045  # a slice: what a lost wake costs
        tx.shutdown()
        assert child.result() == ROUNDS
        assert slow < ROUNDS / 50


def pass_on(link: Connection, source: str, target: str) -> int:
    with Region.attach("r") as region:
        rx, tx = region.receiver(source, shared=True), region.sender(target)
        link.send("ready")
        count = 0
        for message in rx:
            with message:
                tx.send(bytes(message), timeout=20)
            count += 1
        return count


def test_no_wake_is_missed_between_full_and_empty_queues_of_depth_1(start: Callable[..., Any]) -> None:
    with small() as region:
        first, last = region.sender("first", depth=1), region.receiver("last", depth=1)
        children = [Partner(start, pass_on, "first", "last") for _ in range(2)]
        for child in children:
            child.hear()

        def feed() -> None:
            for number in range(ROUNDS):
                first.send(number.to_bytes(4, "big"), timeout=20)
            first.shutdown()

        feeding = Thread(feed)
        found = [int.from_bytes(bytes(last.receive(20)), "big") for _ in range(ROUNDS)]
        feeding.result()
        assert sorted(found) == list(range(ROUNDS))
        assert sum(child.result() for child in children) == ROUNDS


def test_no_wake_is_missed_by_many_threads_that_wait_at_one_queue() -> None:
    with small() as region:
        tx = region.sender("q")
        for _ in range(20):
            workers = [Thread(region.receiver("q", shared=True).receive, 20) for _ in range(8)]
            until(lambda workers=workers: all(worker.is_asleep() for worker in workers))
            began = time.monotonic()
            for number in range(8):
                tx.send(bytes([number]))
            found = sorted(message[0] for message in [worker.result() for worker in workers])
            assert found == list(range(8))
            assert time.monotonic() - began < AT_ONCE


def test_shutdown_wakes_everyone_who_waits() -> None:
    with small() as region:
        waiting = [Thread(list, region.receiver("q", shared=True)) for _ in range(6)]
        until(lambda: all(worker.is_asleep() for worker in waiting))
        region.sender("q").shutdown()
        assert [worker.result() for worker in waiting] == [[]] * 6


def test_a_sender_that_waits_for_blocks_is_woken_by_a_release() -> None:
    with small() as region, Region.attach("r") as other:
        tx, rx = region.sender("q"), region.receiver("q")
        held = other.sender("elsewhere").loan(region.size)
        waiting = [Thread(tx.send, bytes(1000)) for _ in range(3)]
        until(lambda: all(worker.is_asleep() for worker in waiting))
        held.discard()
        for worker in waiting:
            assert worker.result() is True
        assert len(drain(rx)) == 3


def test_a_deep_sleeper_is_woken_at_once() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q", spin=0)
        delays = []
        for _ in range(50):
            waiting = Thread(lambda: (rx.receive(20).release(), time.monotonic())[1])
            until(waiting.is_asleep)
            sent = time.monotonic()
            tx.send(b"x")
            delays.append(waiting.result() - sent)
        assert sorted(delays)[25] < 0.045  # a slice: what a lost wake costs


def receive_nothing(region: Region) -> None:
    with pytest.raises(shmq.Empty):
        region.receiver("q").receive(1)


def send_to_a_full_queue(region: Region) -> None:
    tx = region.sender("q", depth=1)
    tx.send(b"first")
    with pytest.raises(shmq.Full):
        tx.send(b"second", timeout=1)
    assert drain(region.receiver("q")) == [b"first"]


def publish_to_a_full_subscriber(region: Region) -> None:
    rx, tx = region.subscriber("t", depth=1), region.publisher("t")
    tx.send(b"first")
    assert tx.send(b"second", timeout=1) == 0
    rx.close()


@pytest.mark.parametrize("wait", [receive_nothing, send_to_a_full_queue, publish_to_a_full_subscriber])
def test_who_waits_for_nothing_sleeps_and_looks_but_once_a_slice(wait: Callable[[Region], None]) -> None:
    with small() as region:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        wait(region)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        # One sleep a slice of 50 ms, and where it met others in its spin; the time they cost depends on the machine.
        assert 0 < after.ru_nvcsw - before.ru_nvcsw < 100
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # not all the time


def test_a_spin_time_is_kept_before_sleeping() -> None:
    with small() as region:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        with pytest.raises(shmq.Empty):
            region.receiver("q", spin=10).receive(0.2)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        assert after.ru_nvcsw - before.ru_nvcsw < 20  # it gave the processor up for signals only
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime > 0.02
