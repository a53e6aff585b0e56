# SPDX-License-Identifier: MIT
"""What the calls themselves cost: both ends in one process, so that no cache line travels."""

from typing import Any

import alone
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


@pytest.mark.parametrize("nbytes", [8, 1 << 20, 16 << 20])
def test_a_forward(benchmark: Benchmark, region: shmq.Region, nbytes: int) -> None:
    tx, rx = region.sender("queue"), region.receiver("queue")
    tx.loan(nbytes).send()
    assert benchmark(lambda: rx.receive().forward(tx))
    with rx.receive() as message:
        assert message.nbytes == nbytes


@pytest.mark.parametrize("nbytes", [8, 1 << 20, 16 << 20])
def test_an_edit(benchmark: Benchmark, region: shmq.Region, nbytes: int) -> None:
    tx, rx = region.sender("queue"), region.receiver("queue")
    tx.send(bytes(nbytes))

    def edit() -> None:
        loan = rx.receive().edit(tx)
        loan[-1] = 7
        loan.send()

    benchmark(edit)
    with rx.receive() as message:
        assert (message.nbytes, message[-1]) == (nbytes, 7)


@pytest.mark.parametrize("subscribers", [1, 3, 10, 120])
def test_a_publication_and_its_receptions(benchmark: Benchmark, region: shmq.Region, subscribers: int) -> None:
    send, receivers = region.publisher("topic").send, [region.subscriber("topic", depth=4) for _ in range(subscribers)]
    payload = bytes(range(8))

    def publish() -> int:
        reached = send(payload)
        for receiver in receivers:
            receiver.receive().release()
        return reached

    assert benchmark(publish) == subscribers


def test_a_request_and_its_answer_through_inboxes(benchmark: Benchmark, region: shmq.Region) -> None:
    with shmq.Region.attach(region.name) as other:
        ask, answer = region.peer(other.process).send, other.peer(region.process).send
        here, there = region.inbox.receive, other.inbox.receive

        def call() -> bytes:
            ask(b"question")
            with there() as request:
                answer(bytes(request))
            return here().tobytes()

        assert benchmark(call) == b"question"


def test_loans_of_mixed_sizes(benchmark: Benchmark, region: shmq.Region) -> None:
    benchmark.extra_info["µs a loan"] = benchmark.pedantic(alone.lend_mixed, (region, 20_000), rounds=5)


@pytest.mark.parametrize(("processes", "queues"), [(2, 1), (alone.PROCESSES, alone.QUEUES)])
def test_a_hand_over_in_a_crowd(benchmark: Benchmark, processes: int, queues: int) -> None:
    with alone.crowd(processes, queues) as region:
        benchmark.extra_info["µs"] = benchmark.pedantic(alone.hand_over, (region, 20_000), rounds=10)
