# SPDX-License-Identifier: MIT
"""What the calls themselves cost: both ends in one process, so that no cache line travels."""

from typing import Any

import pytest

import shmq

Benchmark = Any
SIZES = pytest.mark.parametrize("nbytes", [8, 1 << 20])


def test_bytes_through_a_queue(benchmark: Benchmark, region: shmq.Region) -> None:
    send, receive = region.sender("queue").send, region.receiver("queue").receive
    payload = bytes(range(8))

    def hand_over() -> bytes:
        send(payload)
        return bytes(receive())

    assert benchmark(hand_over) == payload


@SIZES
def test_in_place_through_a_queue(benchmark: Benchmark, region: shmq.Region, nbytes: int) -> None:
    loan, receive = region.sender("queue").loan, region.receiver("queue").receive
    last = nbytes - 1

    def hand_over() -> int:
        out = loan(nbytes)
        out[0] = 7
        out[last] = 9
        out.send()
        message = receive()
        total = message[0] + message[last]
        message.release()
        return total

    assert benchmark(hand_over) == 16


@SIZES
def test_with_through_a_queue(benchmark: Benchmark, region: shmq.Region, nbytes: int) -> None:
    loan, receive = region.sender("queue").loan, region.receiver("queue").receive

    def hand_over() -> int:
        with loan(nbytes) as out:
            out[0] = 7
        with receive() as message:
            return message[0]

    assert benchmark(hand_over) == 7


def test_an_array_through_a_queue(benchmark: Benchmark, region: shmq.Region) -> None:
    loan, receive = region.sender("queue").loan, region.receiver("queue").receive

    def hand_over() -> float:
        with loan((4, 4), "f8") as out:
            out.array[3, 3] = 2.5
        with receive() as message:
            return float(message.array[3, 3])

    assert benchmark(hand_over) == 2.5


@SIZES
def test_a_loan_that_is_discarded(benchmark: Benchmark, region: shmq.Region, nbytes: int) -> None:
    loan = region.sender("queue").loan
    benchmark(lambda: loan(nbytes).discard())


def test_an_empty_queue(benchmark: Benchmark, region: shmq.Region) -> None:
    receive = region.receiver("queue").receive_nowait

    def look() -> bool:
        try:
            receive()
        except shmq.Empty:
            return True
        return False

    assert benchmark(look)


def test_a_view_of_a_message(benchmark: Benchmark, region: shmq.Region) -> None:
    region.sender("queue").send(bytes(1000))
    with region.receiver("queue").receive() as message:
        assert benchmark(lambda: len(message.memoryview)) == 1000


def test_opening_and_closing_a_region(benchmark: Benchmark, region: shmq.Region) -> None:
    benchmark(lambda: shmq.Region.attach(region.name).close())
