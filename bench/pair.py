# SPDX-License-Identifier: MIT
"""Two processes, each pinned to a core of its own, between which the figures are taken.

Every measurement is a function for this process and one for the other, both of this shape: `f(end, *arguments)`,
where `end` is the process's `End` of the queues. All check what they receive: a wrong byte is an error, not a number.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import shmq
from shmq._probe import cache_line_probe


class End:
    """One process's ends of the pair's queues: `tx` to the other process, `rx` from it."""

    def __init__(self, region: shmq.Region, number: int, spin: float | None) -> None:
        self.tx = region.sender(f"from-{number}")
        self.rx = region.receiver(f"from-{1 - number}", spin=spin)


CORES = sorted(os.sched_getaffinity(0))  # in the process that measures: before it is kept on one of them


def pin(number: int) -> None:
    """Keep this process on core `number` of those that it may use, if there are at least two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[number]})


def _serve(region_name: str, spin: float | None, orders: Any) -> None:
    pin(1)
    try:
        with shmq.Region.attach(region_name) as region:
            end = End(region, 1, spin)
            orders.send((True, None))
            while order := orders.recv():
                function, arguments = order
                orders.send((True, function(end, *arguments)))
    except EOFError:
        pass  # the other process is gone
    except BaseException:
        orders.send((False, traceback.format_exc()))


class Pair:
    """This process and another. A context manager."""

    def __init__(self, size: str | int = "256MiB", spin: float | None = None) -> None:
        """`spin` is that of both receivers: the seconds that they spin before they sleep."""
        self._size = size
        self._spin = spin

    def __enter__(self) -> "Pair":
        self._cores = os.sched_getaffinity(0)
        name = f"bench-{os.getpid()}"
        self.region = shmq.Region.create(name, self._size)
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._other = context.Process(target=_serve, args=(name, self._spin, theirs), daemon=True)
        self._other.start()
        theirs.close()
        pin(0)
        self.end = End(self.region, 0, self._spin)
        self._answer()
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._orders.send(None)
            self._other.join(10)
        self._other.kill()
        self._other.join()
        self.region.close()
        os.sched_setaffinity(0, self._cores)

    def run(self, here: Callable[..., Any], there: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        """Run a function on each side at the same time, with the same arguments.

        Returns:
            What they returned: this side's, the other side's.
        """
        self._orders.send((there, arguments))
        result = here(self.end, *arguments)
        return result, self._answer()

    def probe(self) -> float:
        """Nanoseconds of a bare cache-line round trip between the two cores, which nobody else of the pair uses now."""
        os.sched_setaffinity(0, self._cores)
        try:
            return cache_line_probe()
        finally:
            pin(0)

    def _answer(self) -> Any:
        done, answer = self._orders.recv()
        if not done:
            raise RuntimeError(f"the other process failed:\n{answer}")
        return answer
