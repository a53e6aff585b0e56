# SPDX-License-Identifier: MIT
"""The processes of the demonstration: one producer, two consumers, and the parent that gives them their orders."""

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from .pieces import Piece, Reader, digest
from .ways import MARKS, STOP, WAYS, Way

CONSUMERS = 2
PRODUCER, FIRST_CONSUMER = 0, 1
EVERYBODY = tuple(range(1 + CONSUMERS))

WARM_UP, FEWEST_TRIPS, MOST_TRIPS = 3, 10, 20_000


class Failure(NamedTuple):
    """What a process answers when it cannot go on."""

    traceback: str


class Turn(NamedTuple):
    """What one process reports of one turn at the files. Times are in nanoseconds."""

    began: int
    ended: int
    cpu: int  # of all its threads, from began to ended
    work: int  # the part of it that went into reading (producer) or hashing (consumers)
    digests: dict[int, bytes]  # by the number of the piece; the producer has none


def produce(way: Way, pieces: Sequence[Piece], progress: Any) -> Turn:
    """Hand on every piece, then tell each consumer that it is over."""
    reader = Reader()
    cpu, began = time.process_time_ns(), time.perf_counter_ns()
    for number, piece in enumerate(pieces):
        way.send(number, piece, reader)
        progress.value = number + 1
    for _ in range(CONSUMERS):
        way.end()
    return Turn(began, time.perf_counter_ns(), time.process_time_ns() - cpu, reader.nanoseconds, {})


def consume(way: Way) -> Turn:
    """Hash what arrives until there is no more."""
    hashing, digests = 0, {}
    cpu, began = time.process_time_ns(), time.perf_counter_ns()
    for number, data in way.arriving():
        started = time.thread_time_ns()
        digests[number] = digest(data)
        hashing += time.thread_time_ns() - started
    return Turn(began, time.perf_counter_ns(), time.process_time_ns() - cpu, hashing, digests)


def play(way: Way, nbytes: int, seconds: float) -> list[int]:
    """Round trips of `nbytes`, for that long: the nanoseconds that each took."""
    trip = way.trip(nbytes)
    for number in range(WARM_UP):
        trip(MARKS[number % 2])
    samples: list[int] = []
    clock = time.perf_counter_ns
    end = clock() + round(seconds * 1e9)
    now = clock()
    while len(samples) < FEWEST_TRIPS or (now < end and len(samples) < MOST_TRIPS):
        mark = MARKS[len(samples) % 2]
        started = clock()
        trip(mark)
        now = clock()
        samples.append(now - started)
    trip(STOP)
    return samples


@contextmanager
def on_its_own_core(process: int) -> Iterator[None]:
    """Keep this process on one core meanwhile, where there are cores enough for two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[process]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def end_with_the_parent() -> None:
    """Wait until the parent is dead, then end this process, which may wait for somebody who died first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def live(process: int, orders: Connection, wires: dict[str, Any], pieces: Sequence[Piece], progress: Any) -> None:
    """The life of one process: do what the parent orders until it orders None."""
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    try:
        with ExitStack() as stack:
            ways: dict[str, Way] = {}
            for kind in WAYS:
                way: Way = kind(wires[kind.name], process)
                stack.callback(way.close)
                ways[kind.name] = way
            orders.send("ready")
            while order := orders.recv():
                job, name, *details = order
                orders.send(obey(process, job, ways[name], details, pieces, progress))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is gone, or tells of the Ctrl-C itself
    except Exception:
        orders.send(Failure(traceback.format_exc()))


def obey(process: int, job: str, way: Way, details: list[Any], pieces: Sequence[Piece], progress: Any) -> Any:
    """Do one job and return what to answer."""
    if job == "files":
        return produce(way, pieces, progress) if process == PRODUCER else consume(way)
    nbytes, seconds = details
    with on_its_own_core(process):
        return play(way, nbytes, seconds) if process == PRODUCER else way.echo(nbytes)


class Company:
    """The processes, as the parent has them. A context manager: they are there on entering and gone on leaving."""

    def __init__(self, region: str, pieces: Sequence[Piece]) -> None:
        context = multiprocessing.get_context("spawn")
        self._wires = {kind.name: kind.wires(context, region) for kind in WAYS}  # kept: the children open them by name
        self._sent = context.RawValue("Q", 0)
        self._orders = []
        self._processes = []
        for process in EVERYBODY:
            ours, theirs = context.Pipe()
            self._orders.append(ours)
            self._processes.append(
                context.Process(target=live, args=(process, theirs, self._wires, pieces, self._sent), daemon=True)
            )

    def __enter__(self) -> "Company":
        with ExitStack() as stack:
            stack.push(self.__exit__)
            for process in self._processes:
                process.start()
            self._answers(EVERYBODY)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for orders in self._orders:
            with suppress(OSError):
                orders.send(None)
        for process in self._processes:
            if process.pid is not None:
                process.join(5)
                process.kill()
                process.join()

    def files(self, way: str, watch: Callable[[int], None]) -> tuple[Turn, list[Turn]]:
        """One turn at the files.

        Args:
            way: The name of the way to use.
            watch: Called now and then with the number of pieces sent.

        Returns:
            The producer's report and the consumers'.
        """
        self._sent.value = 0
        self._give(EVERYBODY, "files", way)
        producer, *consumers = self._answers(EVERYBODY, lambda: watch(self._sent.value))
        return producer, consumers

    def round_trips(self, way: str, nbytes: int, seconds: float) -> list[int]:
        """Ping-pong between producer and first consumer: the nanoseconds of each round trip."""
        players = (PRODUCER, FIRST_CONSUMER)
        self._give(players, "ping", way, nbytes, seconds)
        samples: list[int] = self._answers(players)[0]
        return samples

    def _give(self, processes: Sequence[int], *order: Any) -> None:
        for process in reversed(processes):  # the producer last, so that the consumers wait for it
            self._orders[process].send(order)

    def _answers(self, processes: Sequence[int], watch: Callable[[], None] = lambda: None) -> list[Any]:
        answers: dict[int, Any] = {}
        while len(answers) < len(processes):
            missing = [process for process in processes if process not in answers]
            ready = wait(
                [
                    *(self._orders[process] for process in missing),
                    *(self._processes[process].sentinel for process in missing),
                ],
                0.1,
            )
            for process in missing:
                if self._orders[process] in ready:
                    answers[process] = self._answer(process)
                elif self._processes[process].sentinel in ready:
                    raise RuntimeError(f"process {process} ended with exit code {self._processes[process].exitcode}")
            watch()
        return [answers[process] for process in processes]

    def _answer(self, process: int) -> Any:
        answer = self._orders[process].recv()
        if isinstance(answer, Failure):
            raise RuntimeError(f"process {process} failed:\n{answer.traceback}")
        return answer
