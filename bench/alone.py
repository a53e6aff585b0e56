# SPDX-License-Identifier: MIT
"""What the calls of one process cost: passing on, opening, lending; and whether a crowd makes them dearer."""

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import shmq

PROCESSES, QUEUES = 1024, 1000
EACH = 500  # attachments of one process: it can guard about a thousand regions
LARGEST = 1 << 20
KEPT = 32


def forward(region: shmq.Region, nbytes: int, rounds: int) -> float:
    """Microseconds of a message's way: received, forwarded to where it came from."""
    tx, rx = region.sender("forward"), region.receiver("forward")
    tx.loan(nbytes).send()
    receive = rx.receive
    start = time.perf_counter_ns()
    for _ in range(rounds):
        receive().forward(tx)
    elapsed = time.perf_counter_ns() - start
    receive().release()
    rx.close()
    return elapsed / rounds / 1e3


def edit(region: shmq.Region, nbytes: int, rounds: int) -> float:
    """The same, with a byte modified in place."""
    tx, rx = region.sender("edit"), region.receiver("edit")
    tx.loan(nbytes).send()
    receive = rx.receive
    start = time.perf_counter_ns()
    for number in range(rounds):
        loan = receive().edit(tx)
        loan[0] = number & 255
        loan.send()
    elapsed = time.perf_counter_ns() - start
    receive().release()
    rx.close()
    return elapsed / rounds / 1e3


def hand_over(region: shmq.Region, rounds: int) -> float:
    """Microseconds of a send and a receive of 8 bytes."""
    tx, rx = region.sender("hand-over"), region.receiver("hand-over")
    send, receive, payload = tx.send, rx.receive, bytes(range(8))
    start = time.perf_counter_ns()
    for _ in range(rounds):
        send(payload)
        receive().release()
    elapsed = time.perf_counter_ns() - start
    rx.close()
    return elapsed / rounds / 1e3


def publish_copied(region: shmq.Region, subscribers: int, nbytes: int, rounds: int) -> float:
    """Messages a second, each copied from an array that lies elsewhere, published and received by one process.

    What is left of the rate where subscribers have cores of their own: the copy and the calls, no waiting.
    """
    import numpy

    source = numpy.random.default_rng(1).integers(0, 256, nbytes, "u1")
    tx, receivers = region.publisher("alone"), [region.subscriber("alone", depth=1) for _ in range(subscribers)]
    start = time.perf_counter_ns()
    for number in range(rounds):
        source[0] = source[-1] = number & 255
        with tx.loan(nbytes) as out:
            out.array[:] = source
        for rx in receivers:
            with rx.receive() as message:
                if message[0] != number & 255 or message[nbytes - 1] != number & 255:
                    raise ValueError("a payload is not what was sent")
    elapsed = time.perf_counter_ns() - start
    for rx in receivers:
        rx.close()
    return rounds / elapsed * 1e9


def open_existing(region: shmq.Region, rounds: int) -> list[float]:
    """Microseconds of each open of a region that is there; not of its close."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        another = shmq.open(region.name)
        times.append((time.perf_counter_ns() - start) / 1e3)
        another.close()
    return times


def lend_mixed(region: shmq.Region, rounds: int) -> float:
    """Microseconds of a loan, first and last byte written, while 32 others of 1 B to 1 MiB are out, and its discard."""
    generator = random.Random(1)
    sizes = [int(LARGEST ** generator.random()) for _ in range(rounds)]
    loan, kept = region.sender("mixed").loan, []
    start = time.perf_counter_ns()
    for index, nbytes in enumerate(sizes):
        one = loan(nbytes)
        one[0] = one[-1] = 1
        if index < KEPT:
            kept.append(one)
        else:
            kept[index % KEPT].discard()
            kept[index % KEPT] = one
    elapsed = time.perf_counter_ns() - start
    for one in kept:
        one.discard()
    return elapsed / rounds / 1e3


def _attend(name: str, count: int, link: Connection) -> None:
    """Stand in for `count` processes, until told to go."""
    regions = [shmq.Region.attach(name) for _ in range(count)]
    link.send(len(regions))
    link.recv()
    for region in regions:
        region.close()


@contextmanager
def crowd(processes: int, queues: int) -> Iterator[shmq.Region]:
    """A region that so many are attached to, and with so many queues; `hand_over` makes one of them.

    A few real processes stand in for many: one process can attach many times, and each time is one to the others.
    """
    name, context = f"crowd-{os.getpid()}-{processes}", multiprocessing.get_context("spawn")
    with shmq.Region.create(name, "64MiB", max_processes=PROCESSES, max_queues=QUEUES) as region:
        for number in range(queues - 1):
            region.sender(f"queue-{number}", depth=64)
        others = []
        for first in range(0, processes - 1, EACH):
            link, theirs = context.Pipe()
            other = context.Process(target=_attend, args=(name, min(EACH, processes - 1 - first), theirs), daemon=True)
            other.start()
            theirs.close()
            others.append((other, link))
        for _, link in others:
            link.recv()
        yield region
        for other, link in others:
            link.send("go")
            other.join()
