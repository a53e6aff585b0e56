# SPDX-License-Identifier: MIT
"""The ways that the demonstration compares: shmq, `multiprocessing.Pipe`, `multiprocessing.Queue`.

Each has the same methods, so that everything around them is the same: the processes, the files, the hash, the clocks.
`wires` makes in the parent what the processes are handed at their start; the constructor connects one of them.
Process 0 produces, the others consume; 0 and 1 play ping-pong.
"""

import struct
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnContext
from typing import Any, Protocol

from .. import Region
from .pieces import Piece, Reader

END = 0xFFFFFFFF  # instead of a piece's number: there are no more
MARKS = (1, 2)  # of round trips, by turns
STOP = 255  # instead of a round trip's mark: the echo may go
PIPE_HEADER = struct.Struct("<I")

Trip = Callable[[int], None]


class Way(Protocol):
    """One way of handing data to another process."""

    name: str

    def close(self) -> None:
        """Give up this process's ends."""

    def send(self, number: int, piece: Piece, reader: Reader) -> None:
        """Read a piece and hand it to whichever consumer is free."""

    def end(self) -> None:
        """Tell one consumer that there are no more pieces."""

    def arriving(self) -> Iterator[tuple[int, Any]]:
        """Numbers and data of the pieces that come to this consumer. The data is valid until the next one."""

    def trip(self, nbytes: int) -> Trip:
        """A function that makes one round trip: `nbytes` there and back, the mark in the first and the last byte."""

    def echo(self, nbytes: int) -> None:
        """Answer round trips until one is marked STOP."""


def _check(sent: int, first: int, last: int) -> None:
    if first != sent or last != sent:
        raise RuntimeError(f"a round trip marked {sent} came back marked {first} and {last}")


class InPlace:
    """shmq: written and read where it lies."""

    name = "shmq"

    @staticmethod
    def wires(context: SpawnContext, region: str) -> str:
        return region

    def __init__(self, region: str, process: int) -> None:
        self._region = Region.attach(region, process=f"demo-{process}")
        if process == 0:
            self._tx = self._region.sender("files")
        else:
            self._rx = self._region.receiver("files", shared=True)
        if process < 2:
            self._there = self._region.sender(f"ping-{process}")
            self._back = self._region.receiver(f"ping-{1 - process}")

    def close(self) -> None:
        self._region.close()

    def send(self, number: int, piece: Piece, reader: Reader) -> None:
        with self._tx.loan(piece.nbytes, label=number) as loan:
            reader.read_into(piece, loan)

    def end(self) -> None:
        self._tx.send(b"", label=END)

    def arriving(self) -> Iterator[tuple[int, Any]]:
        for message in self._rx:
            with message:
                if message.label == END:
                    return
                yield message.label, message

    def trip(self, nbytes: int) -> Trip:
        loan, receive, last = self._there.loan, self._back.receive, nbytes - 1

        def trip(mark: int) -> None:
            out = loan(nbytes)
            out[0] = mark
            out[last] = mark
            out.send()
            message = receive()
            _check(mark, message[0], message[last])
            message.release()

        return trip

    def echo(self, nbytes: int) -> None:
        loan, receive, last = self._there.loan, self._back.receive, nbytes - 1
        mark = 0
        while mark != STOP:
            message = receive()
            mark = message[0]
            end = message[last]
            message.release()
            out = loan(nbytes)
            out[0] = mark
            out[last] = end
            out.send()


class ByPipe:
    """`multiprocessing.Pipe` with `send_bytes`: one buffer reused by the sender, a lock among the receivers."""

    name = "Pipe"

    @staticmethod
    def wires(context: SpawnContext, region: str) -> tuple[Any, ...]:
        return (*context.Pipe(duplex=False), context.Lock(), *context.Pipe())

    def __init__(self, wires: tuple[Any, ...], process: int) -> None:
        self._rx, self._tx, self._lock, producer, consumer = wires
        self._peer = producer if process == 0 else consumer
        self._buffer = memoryview(bytearray(PIPE_HEADER.size))

    def close(self) -> None:
        self._rx.close()
        self._tx.close()
        self._peer.close()

    def send(self, number: int, piece: Piece, reader: Reader) -> None:
        size = PIPE_HEADER.size + piece.nbytes
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        PIPE_HEADER.pack_into(self._buffer, 0, number)
        reader.read_into(piece, self._buffer[PIPE_HEADER.size : size])
        self._tx.send_bytes(self._buffer[:size])

    def end(self) -> None:
        self._tx.send_bytes(PIPE_HEADER.pack(END))

    def arriving(self) -> Iterator[tuple[int, Any]]:
        while True:
            with self._lock:
                data = self._rx.recv_bytes()
            (number,) = PIPE_HEADER.unpack_from(data)
            if number == END:
                return
            yield number, memoryview(data)[PIPE_HEADER.size :]

    def trip(self, nbytes: int) -> Trip:
        send, receive, last = self._peer.send_bytes, self._peer.recv_bytes, nbytes - 1
        buffer = bytearray(nbytes)

        def trip(mark: int) -> None:
            buffer[0] = mark
            buffer[last] = mark
            send(buffer)
            data = receive()
            _check(mark, data[0], data[last])

        return trip

    def echo(self, nbytes: int) -> None:
        send, receive, last = self._peer.send_bytes, self._peer.recv_bytes, nbytes - 1
        buffer = bytearray(nbytes)
        while buffer[0] != STOP:
            data = receive()
            buffer[0] = data[0]
            buffer[last] = data[last]
            send(buffer)


class ByQueue:
    """`multiprocessing.Queue`: pickled by a thread, through a pipe."""

    name = "Queue"

    @staticmethod
    def wires(context: SpawnContext, region: str) -> tuple[Any, ...]:
        return context.Queue(), context.Queue(), context.Queue()

    def __init__(self, wires: tuple[Any, ...], process: int) -> None:
        self._files, there, back = wires
        self._there, self._back = (there, back) if process == 0 else (back, there)

    def close(self) -> None:
        for queue in (self._files, self._there, self._back):
            queue.cancel_join_thread()  # nothing is left to send but where the demonstration was stopped
            queue.close()

    def send(self, number: int, piece: Piece, reader: Reader) -> None:
        self._files.put((number, reader.read(piece)))

    def end(self) -> None:
        self._files.put((END, b""))

    def arriving(self) -> Iterator[tuple[int, Any]]:
        while True:
            number, data = self._files.get()
            if number == END:
                return
            yield number, data

    def trip(self, nbytes: int) -> Trip:
        put, get, last = self._there.put, self._back.get, nbytes - 1
        data = {mark: bytes([mark]) * nbytes for mark in (*MARKS, STOP)}  # what is put is the queue's thread's to read

        def trip(mark: int) -> None:
            put(data[mark])
            back = get()
            _check(mark, back[0], back[last])

        return trip

    def echo(self, nbytes: int) -> None:
        put, get, last = self._there.put, self._back.get, nbytes - 1
        mark = 0
        while mark != STOP:
            data = get()
            mark = data[0]
            _check(mark, mark, data[last])
            put(data)


Kind = type[InPlace] | type[ByPipe] | type[ByQueue]
WAYS: tuple[Kind, ...] = (InPlace, ByPipe, ByQueue)
