# SPDX-License-Identifier: MIT
"""This process and several others: what they hand over among more than two.

Each of the others runs one function `f(region, number, *arguments)` and says what it returned. This process keeps the
first core, the others share the rest: with two cores, all of them the second.
"""

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pair import CORES

import shmq

WRONG = "a payload is not what was sent"
TOPIC, QUEUE = "team-topic", "team-queue"


def _serve(
    name: str, number: int, core: int, function: Callable[..., Any], arguments: tuple[Any, ...], link: Any
) -> None:
    os.sched_setaffinity(0, {core})
    try:
        with shmq.Region.attach(name) as region:
            link.send((True, function(region, number, *arguments)))
    except BaseException:
        link.send((False, traceback.format_exc()))


class Team:
    """`count` processes that run a function. A context manager; leave it once all of them have what they wait for."""

    def __init__(self, region: shmq.Region, count: int, function: Callable[..., Any], *arguments: Any) -> None:
        self.results: list[Any] = []
        self._before = os.sched_getaffinity(0)
        others = max(1, len(CORES) - 1)
        context = multiprocessing.get_context("spawn")
        self._links = []
        for number in range(count):
            link, theirs = context.Pipe(duplex=False)
            core = CORES[min(1 + number % others, len(CORES) - 1)]
            work = (region.name, number, core, function, arguments, theirs)
            member = context.Process(target=_serve, args=work, daemon=True)
            member.start()
            theirs.close()
            self._links.append((member, link))

    def __enter__(self) -> "Team":
        os.sched_setaffinity(0, {CORES[0]})
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.sched_setaffinity(0, self._before)
        try:
            if kind is None:
                self.results = [self._answer(link) for _, link in self._links]
        finally:
            for member, _ in self._links:
                member.join(0 if kind else 10)
                member.kill()
                member.join()

    def wait(self, fact: Callable[[], bool]) -> None:
        """Until it is so; a process that has failed meanwhile is an error."""
        while not fact():
            for _, link in self._links:
                if link.poll():
                    self._answer(link)
            time.sleep(0.001)

    def _answer(self, link: Any) -> Any:
        done, answer = link.recv()
        if not done:
            raise RuntimeError(f"a process of the team failed:\n{answer}")
        return answer


# ---- one to many --------------------------------------------------------------------------------------------


def follow(region: shmq.Region, number: int, nbytes: int, count: int) -> int:
    """Receive all that is published; the nanoseconds from the first to the last message."""
    with region.subscriber(TOPIC, depth=4) as rx:
        start, last = 0, nbytes - 1
        for expected in range(count):
            mark = expected & 255
            with rx.receive() as message:
                if message[0] != mark or message[last] != mark:
                    raise ValueError(WRONG)
            start = start or time.perf_counter_ns()
        return time.perf_counter_ns() - start


def publish_filled(region: shmq.Region, subscribers: int, nbytes: int, count: int, copied: bool = False) -> float:
    """Messages a second to the slowest of the subscribers, who get all of them.

    Each byte of each is written: in place, or copied from an array that lies elsewhere.
    """
    import numpy

    source = numpy.random.default_rng(1).integers(0, 256, nbytes, "u1")
    tx = region.publisher(TOPIC)
    with Team(region, subscribers, follow, nbytes, count) as team:
        team.wait(lambda: tx.subscribers == subscribers)
        for number in range(count):
            with tx.loan(nbytes) as out:
                if copied:
                    source[0] = source[-1] = number & 255
                    out.array[:] = source
                else:
                    out.array.fill(number & 255)
    return (count - 1) / max(team.results) * 1e9


# ---- many to one --------------------------------------------------------------------------------------------


def payloads(sender: int) -> list[bytes]:
    return [bytes([sender, mark]) * 4 for mark in range(256)]


def feed(region: shmq.Region, number: int, count: int) -> None:
    send, mine = region.sender(QUEUE).send, payloads(number)
    for index in range(count):
        send(mine[index & 255])


def feed_many(region: shmq.Region, number: int, count: int) -> None:
    send_many, mine = region.sender(QUEUE).send_many, payloads(number)
    for first in range(0, count, len(mine)):
        send_many(mine[: count - first])


def many_to_one(region: shmq.Region, senders: int, count: int, many: bool = False) -> float:
    """Million messages of 8 bytes a second. That each sender's come in its order is looked at afterwards."""
    total, got = senders * count, list[bytes]()
    with region.receiver(QUEUE) as rx, Team(region, senders, feed_many if many else feed, count):
        if many:
            receive_many = rx.receive_many
            got += [message.tobytes() for message in receive_many(1)]
            start = time.perf_counter_ns()
            while len(got) < total:
                got += [message.tobytes() for message in receive_many(256)]
        else:
            receive, append = rx.receive, got.append
            append(receive().tobytes())
            start = time.perf_counter_ns()
            for _ in range(total - 1):
                append(receive().tobytes())
        nanoseconds = time.perf_counter_ns() - start
    for sender in range(senders):
        mine = payloads(sender)
        if [data for data in got if data[0] == sender] != [mine[index & 255] for index in range(count)]:
            raise ValueError(WRONG)
    return (total - 1) / nanoseconds * 1e3
