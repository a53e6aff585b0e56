# SPDX-License-Identifier: MIT
"""The Mandelbrot set in tiles, computed in place by competing workers: python examples/arrays.py [WORKERS]"""

import os
import sys
from multiprocessing import get_context

import numpy as np

import shmq

SIZE, TILE, STEPS = 1024, 128, 100


def work(name: str) -> None:
    """Take a tile's corner, fill the tile in place, send it; until the queue is shut down."""
    with shmq.Region.attach(name) as region:
        tx = region.sender("tiles")
        for corner in region.receiver("corners", shared=True):
            with corner, tx.loan((TILE, TILE), "u1", label=corner.label) as tile:
                row, column = corner.array
                y, x = np.ogrid[row : row + TILE, column : column + TILE]
                c = (x / SIZE * 3 - 2) + 1j * (y / SIZE * 3 - 1.5)
                z = np.zeros_like(c)
                tile.array[:] = 0
                for _ in range(STEPS):
                    inside = np.abs(z) < 2
                    z[inside] = z[inside] ** 2 + c[inside]
                    tile.array[inside] += 1


def main(workers: int = 2) -> None:
    """Hand out the corners, put the tiles together, show the picture."""
    name = f"arrays-{os.getpid()}"
    corners = [(row, column) for row in range(0, SIZE, TILE) for column in range(0, SIZE, TILE)]
    picture = np.empty((SIZE, SIZE), "u1")
    with shmq.open(name) as region:
        tx, rx = region.sender("corners"), region.receiver("tiles")
        team = [get_context("spawn").Process(target=work, args=(name,)) for _ in range(workers)]
        for member in team:
            member.start()
        for label, corner in enumerate(corners):
            tx.send(np.array(corner), label=label)
        tx.shutdown()
        for _ in corners:
            with rx.receive(timeout=60) as tile:
                row, column = corners[tile.label]
                picture[row : row + TILE, column : column + TILE] = tile.array
        for member in team:
            member.join()
    for line in picture[:: SIZE // 24, :: SIZE // 72]:
        print("".join(" .:-=+*#%@"[min(count // 11, 9)] for count in line))
    print(f"{len(corners)} tiles from {workers} workers, {np.count_nonzero(picture == STEPS):,} points inside")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
