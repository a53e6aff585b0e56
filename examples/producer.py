# SPDX-License-Identifier: MIT
"""A camera: hands frames of a moving spot to consumer.py, which runs in another terminal.

python examples/producer.py [FRAMES]
"""

import sys

import numpy as np

import shmq

HEIGHT, WIDTH = 720, 1280


def main(frames: int = 500) -> None:
    """Draw every frame where the consumer will read it, and wait whenever it falls behind."""
    noise = np.random.default_rng(1).integers(0, 100, (HEIGHT, WIDTH), "u1")
    with shmq.open("camera", size="32MiB") as region:
        tx = region.sender("frames")
        for number in range(frames):
            row, column = (7 * number) % HEIGHT, (11 * number) % WIDTH
            with tx.loan((HEIGHT, WIDTH), "u1", label=number) as frame:
                frame.array[:] = noise
                frame.array[row, column] = 255
        tx.shutdown()  # the consumer finishes what is queued, then its loop ends
        print(f"{frames} frames sent")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
