# SPDX-License-Identifier: MIT
"""Frames go through three processes that each work on them where they lie: python examples/pass_it_on.py [FRAMES]"""

import os
import sys
from multiprocessing import get_context

import numpy as np

import shmq

SHAPE, AHEAD = (480, 640), 8  # how many frames are on the way at once
STAGES = [
    lambda frame: np.subtract(255, frame, out=frame),
    lambda frame: np.floor_divide(frame, 2, out=frame),
    lambda frame: np.clip(frame, 16, 100, out=frame),
]


def work(name: str, number: int) -> None:
    """One stage: take a frame, change it in place, pass it on to the next."""
    with shmq.Region.attach(name) as region:
        tx = region.sender(f"stage-{number + 1}")
        for message in region.receiver(f"stage-{number}"):
            with message.edit(tx) as frame:  # the same block, sent on leaving
                STAGES[number](frame.array)
        tx.shutdown()


def main(frames: int = 200) -> None:
    """Draw frames, and look at what comes out at the other end, and where it lies."""
    name = f"pass-it-on-{os.getpid()}"
    with shmq.open(name) as region:
        team = [get_context("spawn").Process(target=work, args=(name, number)) for number in range(len(STAGES))]
        for member in team:
            member.start()
        tx, rx = region.sender("stage-0"), region.receiver(f"stage-{len(STAGES)}")
        drawn_at, right, moved = {}, 0, 0
        for number in range(frames + AHEAD):
            if number < frames:
                with tx.loan(SHAPE, "u1", label=number) as frame:
                    frame.array[:] = number % 256
                    drawn_at[number] = frame.offset
            if number >= AHEAD:
                with rx.receive(timeout=60) as done:
                    expected = min(max((255 - done.label % 256) // 2, 16), 100)
                    right += bool((done.array == expected).all())
                    moved += done.offset != drawn_at[done.label]
        tx.shutdown()
        for member in team:
            member.join()
    print(f"{right} of {frames} frames are right after {len(STAGES)} stages, {moved} were copied on the way")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
