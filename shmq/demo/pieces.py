# SPDX-License-Identifier: MIT
"""What the demonstration hands over: the files of the interpreter's standard library."""

import hashlib
import os
import sysconfig
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

NOT_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}


class Piece(NamedTuple):
    """A run of bytes of a file: what one message carries. Mostly a whole file."""

    path: str
    start: int
    nbytes: int


def library_path() -> str:
    """Where the standard library's files lie."""
    return sysconfig.get_path("stdlib")


def library_files(root: str) -> Iterator[str]:
    """Every readable file under `root`, in a fixed order, but for installed packages and byte code."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - NOT_LIBRARY)
        for path in (os.path.join(folder, name) for name in sorted(files)):
            if os.path.isfile(path) and os.access(path, os.R_OK):
                yield path


def cut(paths: Iterator[str], largest: int) -> list[Piece]:
    """One piece for each file, and several for a file of more than `largest` bytes."""
    pieces = []
    for path in paths:
        size = os.path.getsize(path)
        pieces += [Piece(path, start, min(largest, size - start)) for start in range(0, max(size, 1), largest)]
    return pieces


def digest(data: Any) -> bytes:
    """The hash that the disk, the consumers and the comparison all use, of anything that offers a buffer."""
    return hashlib.sha256(data).digest()


class Reader:
    """Reads pieces, and knows how much CPU time that took."""

    def __init__(self) -> None:
        self.nanoseconds = 0

    def read_into(self, piece: Piece, buffer: Any) -> None:
        """Let the kernel write the piece straight into `buffer`, which has exactly its size."""
        started = time.thread_time_ns()
        with open(piece.path, "rb", buffering=0) as file:
            file.seek(piece.start)
            self._check(piece, file.readinto(buffer))
        self.nanoseconds += time.thread_time_ns() - started

    def read(self, piece: Piece) -> bytes:
        """The piece as bytes of its own."""
        started = time.thread_time_ns()
        with open(piece.path, "rb", buffering=0) as file:
            file.seek(piece.start)
            data = file.read(piece.nbytes)
            self._check(piece, len(data))
        self.nanoseconds += time.thread_time_ns() - started
        return data

    @staticmethod
    def _check(piece: Piece, got: int) -> None:
        if got != piece.nbytes:
            raise OSError(f"{piece.path} changed: {got} bytes at {piece.start} where {piece.nbytes} were expected")
