# SPDX-License-Identifier: MIT
"""Regions with a name go with the processes that multiprocessing starts; for others see test_anonymous.py."""

import multiprocessing
import os
from collections.abc import Callable

import pytest
from helpers import drain, small

import shmq
from shmq import Region


def echo(region: Region, tx: shmq.Sender, rx: shmq.Receiver) -> None:
    assert tx.region is region
    for message in rx:
        with message:
            tx.send(bytes(message)[::-1])


def converse(method: str) -> None:
    """With a process that has got handles on a region with a name."""
    context = multiprocessing.get_context(method)
    with small() as region:
        there, back = region.sender("there"), region.receiver("back")
        process = context.Process(
            target=echo, args=(region, region.sender("back"), region.receiver("there", shared=True))
        )
        process.start()
        for number in range(30):
            there.send(b"%d" % number)
            with back.receive(20) as message:
                assert bytes(message) == (b"%d" % number)[::-1]
        there.shutdown()
        process.join(20)
        assert process.exitcode == 0
        process.close()
        region.recover()
        assert len(region.processes()) == 1


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_handles_go_with_a_process_however_multiprocessing_starts_it(python: Callable[..., str], method: str) -> None:
    code = f"""
import sys
sys.path.insert(0, "tests")
import test_multiprocessing
if __name__ == "__main__":
    test_multiprocessing.converse({method!r})
"""
    assert python("-c", code) == ""


def square(tx: shmq.Sender, number: int) -> int:
    tx.send(b"%d" % number)
    return os.getpid()


def test_handles_go_with_the_tasks_of_a_pool() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            workers = {pool.apply(square, (tx, number)) for number in range(20)}
            assert drain(rx) == [b"%d" % number for number in range(20)]
            assert len(region.processes()) <= 1 + len(workers)  # each task's handle went with it
            pool.close()
            pool.join()
        region.recover()
        assert len(region.processes()) == 1
