# SPDX-License-Identifier: MIT
"""One sensor, three readers of the same blocks; each says what happens when it falls behind.

python examples/fanout.py [BLOCKS]
"""

import os
import sys
import time
from multiprocessing import get_context

import numpy as np

import shmq

READERS = {"recorder": ("block", 64), "display": ("drop_oldest", 1), "monitor": ("drop_newest", 8)}


def read(name: str, reader: str) -> None:
    """Follow the signal to its end, then write what was seen to the sensor's inbox."""
    overflow, depth = READERS[reader]
    with shmq.Region.attach(name, process=reader) as region:
        signal = region.subscriber("signal", depth=depth, overflow=overflow)
        seen, last, loudest = 0, 0, 0.0
        for block in signal:
            with block:
                loudest = max(loudest, float(np.abs(block.array).max()))
                seen, last = seen + 1, block.seq
            if reader == "display":
                time.sleep(0.001)  # drawing takes its time
        text = f"{reader}: {seen} blocks seen, {signal.dropped} missed, the last was {last}, peak {loudest:.1f}"
        region.peer("sensor").send(text.encode())


def main(blocks: int = 2000) -> None:
    """Publish, and print what the readers say."""
    name = f"fanout-{os.getpid()}"
    time_of_sample = np.linspace(0, 1, 4096, dtype="f4")
    with shmq.open(name, process="sensor") as region:
        team = [get_context("spawn").Process(target=read, args=(name, reader)) for reader in READERS]
        for member in team:
            member.start()
        publisher = region.publisher("signal")
        while publisher.subscribers < len(READERS):
            time.sleep(0.01)
        for number in range(blocks):
            with publisher.loan(time_of_sample.shape, "f4", label=number) as block:
                np.multiply(time_of_sample, number % 100, out=block.array)
        publisher.shutdown()
        print("\n".join(sorted(bytes(region.inbox.receive(timeout=60)).decode() for _ in team)))
        for member in team:
            member.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
