# SPDX-License-Identifier: MIT
"""Messages: read in place, read-only, until they are released."""

import copy
import gc
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import held, small

import shmq

DATA = bytes(range(24))


def message_of(region: shmq.Region, data: Any = DATA, **options: Any) -> shmq.Message:
    region.sender("q").send(data, **options)
    return region.receiver("q").receive(0)


# ---- reading -----------------------------------------------------------------------------------------------


def test_a_message_reads_like_bytes() -> None:
    with small() as region:
        message = message_of(region)
        assert bytes(message) == message.tobytes() == message[:] == DATA
        assert len(message) == message.nbytes == 24
        assert (message[0], message[-1], message[23], message[-24]) == (0, 23, 23, 0)
        for part in (slice(2, 5), slice(-3, None), slice(5, 2), slice(0, 100), slice(None, None, -5), slice(1, 9, 3)):
            assert message[part] == DATA[part]
        assert list(message) == list(DATA)
        message.release()


@pytest.mark.parametrize("index", [24, -25, 1 << 40])
def test_an_index_out_of_range_is_an_index_error(index: int) -> None:
    with small() as region, message_of(region) as message, pytest.raises(IndexError, match="24 bytes"):
        message[index]


@pytest.mark.parametrize("index", ["0", 1.5, None])
def test_an_index_is_a_number_or_a_slice(index: Any) -> None:
    with small() as region, message_of(region) as message, pytest.raises(TypeError):
        message[index]


def test_views_speak_the_type_that_was_sent_and_bytes_speak_bytes() -> None:
    with small() as region, message_of(region, np.arange(6, dtype="<i4").reshape(2, 3)) as message:
        assert message.array.tolist() == message.memoryview.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert memoryview(message).format == "i"
        assert (message.shape, message.dtype, len(message)) == ((2, 3), np.dtype("<i4"), 24)
        assert message[4:8] == b"\x01\0\0\0"
        assert np.asarray(message).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_plain_message_is_an_array_of_bytes() -> None:
    with small() as region, message_of(region) as message:
        assert (message.shape, message.dtype) == ((24,), np.dtype("u1"))
        assert message.array.tolist() == list(DATA)


def test_who_asks_for_plain_bytes_of_the_buffer_gets_plain_bytes() -> None:
    with small() as region, message_of(region, np.arange(6, dtype="<i4")) as message:
        assert b"".join([message]) == np.arange(6, dtype="<i4").tobytes()
        assert bytearray(message) == np.arange(6, dtype="<i4").tobytes()
        import hashlib

        assert hashlib.sha256(message).digest() == hashlib.sha256(bytes(message)).digest()


def test_a_copy_is_writable_and_outside_shared_memory() -> None:
    with small() as region:
        message = message_of(region)
        taken = message.copy()
        message.release()
        taken[0] = 99
        assert taken.flags.owndata
        assert taken[1:].tolist() == list(DATA[1:])


def test_a_message_tells_label_seq_sender_deliveries_and_offset() -> None:
    with small(process="writer") as region, shmq.open("r", process="reader") as other:
        tx, rx = region.sender("q"), other.receiver("q")
        for number in range(3):
            tx.send(DATA, label=number * 1000)
        for number in range(3):
            with rx.receive(0) as message:
                assert (message.label, message.seq, message.sender) == (number * 1000, number, "writer")
                assert (message.deliveries, message.redelivered) == (1, False)
                assert message.offset % region.granule == 0
                assert repr(message) == (
                    f"<shmq.Message 24 bytes at offset {message.offset}, label {number * 1000}, seq {number}>"
                )
        assert repr(message) == "<shmq.Message released>"


def test_the_sender_is_none_once_it_has_left_also_when_its_slot_is_anothers() -> None:
    with small(process="stays") as region:
        with shmq.open("r", process="leaves") as other:
            other.sender("q").send(DATA)
        rx = region.receiver("q")
        message = rx.receive(0)
        assert message.sender is None
        with shmq.open("r", process="newcomer"):
            assert message.sender is None
        message.release()


def test_everything_told_is_read_only() -> None:
    with small() as region, message_of(region) as message:
        for name in (
            "label",
            "seq",
            "sender",
            "deliveries",
            "redelivered",
            "offset",
            "nbytes",
            "array",
            "shape",
            "dtype",
        ):
            with pytest.raises(AttributeError):
                setattr(message, name, 1)


# ---- writing is refused ----------------------------------------------------------------------------------


def test_a_received_message_cannot_be_written_to() -> None:
    with small() as region, message_of(region) as message:
        array, view = message.array, message.memoryview
        assert not array.flags.writeable
        assert view.readonly
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            array[2:5][1] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            array[3:].setflags(write=True)
        with pytest.raises(TypeError, match="read-only"):
            view[0] = 1
        with pytest.raises(TypeError, match="assignment"):
            message[0] = 1  # type: ignore[index]
        for ask in (np.frombuffer(message, "u1"), np.asarray(message), np.asarray(view)):
            assert not ask.flags.writeable
        assert bytes(message) == DATA


def test_who_wants_a_writable_buffer_is_refused() -> None:
    with small() as region, message_of(region) as message:
        for taker in (message, message.memoryview, message.array):
            with pytest.raises((TypeError, BufferError, ValueError)):
                struct.pack_into("B", taker, 0, 9)
        assert bytes(message) == DATA


# ---- release ---------------------------------------------------------------------------------------------


def test_after_release_every_use_is_refused() -> None:
    with small() as region:
        message = message_of(region)
        message.release()
        uses: list[Callable[[], Any]] = [
            message.__enter__,
            message.copy,
            message.tobytes,
            lambda: message.array,
            lambda: message.memoryview,
            lambda: message.shape,
            lambda: message.dtype,
            lambda: message.nbytes,
            lambda: message.offset,
            lambda: message.label,
            lambda: message.seq,
            lambda: message.sender,
            lambda: message.deliveries,
            lambda: message.redelivered,
            lambda: len(message),
            lambda: bytes(message),
            lambda: message[0],
            lambda: message[:],
            lambda: memoryview(message),
            lambda: np.frombuffer(message, "u1"),
            message.edit,
            lambda: message.edit(region.sender("q")),
            lambda: message.forward(region.sender("q")),
            lambda: message.forward(region.publisher("t")),
        ]
        for use in uses:
            with pytest.raises(ValueError, match=r"message .*has been released"):
                use()
        message.release()
        message.release(strict=True)
        assert held(region) == (0, 0)


def test_release_leaving_a_with_block_and_dropping_all_give_the_block_back() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        big = bytes(region.size // 2 + 1)  # one block at a time
        for end in ("release", "with", "exception", "drop", "drop with a view"):
            tx.send(big, timeout=0)
            message = rx.receive(0)
            assert held(region) == (0, 1)
            if end == "release":
                message.release()
            elif end == "with":
                with message:
                    pass
            elif end == "exception":
                with pytest.raises(KeyError), message:
                    raise KeyError
            elif end == "drop with a view":
                message.array[0:5].sum()
            del message
            assert held(region) == (0, 0)


VIEWS: dict[str, Callable[[shmq.Message], Any]] = {
    "array": lambda message: message.array,
    "slice": lambda message: message.array[3:],
    "slice of a slice": lambda message: message.array[3:][::2][:4],
    "reshape": lambda message: message.array.reshape(2, -1).T,
    "view": lambda message: message.array.view("u4"),
    "memoryview": lambda message: message.memoryview,
    "slice of the memoryview": lambda message: message.memoryview[3:],
    "array over the memoryview": lambda message: np.asarray(message.memoryview)[1:],
    "buffer": lambda message: memoryview(message),
    "array over the message": lambda message: np.frombuffer(message, "u1"),
    "array of the message": lambda message: np.asarray(message),
    "iterator": lambda message: iter(message.array),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_a_live_view_pins_the_block_until_it_dies(kind: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        data = DATA * (region.size // 24)
        tx.send(data)
        message = rx.receive(0)
        view = VIEWS[kind](message)
        before = bytes(view) if kind != "iterator" else b""
        with pytest.raises(BufferError, match="1 views"):
            message.release(strict=True)
        assert bytes(message) == data
        message.release()
        with pytest.raises(shmq.OutOfBlocks, match="1 messages held"):
            tx.loan(region.size)
        if kind != "iterator":
            assert bytes(view) == before
        else:
            assert [next(view) for _ in range(3)] == [0, 1, 2]
        del view
        assert held(region) == (0, 0)
        tx.loan(region.size).discard()


def test_strict_release_counts_the_views_and_works_once_they_are_gone() -> None:
    with small() as region:
        message = message_of(region)
        first, second = message.memoryview, message.array
        with pytest.raises(BufferError, match="2 views") as caught:
            message.release(strict=True)
        assert "without strict=True" in str(caught.value)
        first.release()
        del second
        message.release(strict=True)
        assert held(region) == (0, 0)


def test_leaving_a_with_block_with_a_live_view_is_no_error() -> None:
    with small() as region:
        with message_of(region) as message:
            view = message.array[1:]
        assert view.tolist() == list(DATA[1:])
        assert held(region) == (0, 1)
        del view
        assert held(region) == (0, 0)


def test_a_message_in_a_reference_cycle_is_released_when_that_is_collected() -> None:
    with small() as region:
        box: list[Any] = [message_of(region)]
        box.append(box)
        del box
        gc.collect()
        assert held(region) == (0, 0)


# ---- what messages are not ---------------------------------------------------------------------------------


def test_what_is_held_is_not_pickled_and_no_handle_is_copied() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(DATA)
        message, loan = rx.receive(0), tx.loan(4)
        for held in (message, loan):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with pytest.raises(TypeError):
                    pickle.dumps(held, protocol)
        for handle in (message, loan, tx, rx, region):
            for duplicate in (copy.copy, copy.deepcopy):
                with pytest.raises(TypeError):
                    duplicate(handle)
        message.release()
        loan.discard()


def test_a_view_travels_by_value() -> None:
    with small() as region, message_of(region) as message:
        assert pickle.loads(pickle.dumps(message.array)).tolist() == list(DATA)
        assert copy.deepcopy(message.array).flags.writeable


def test_a_message_is_itself_and_no_other() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(DATA)
        tx.send(DATA)
        first, second = rx.receive(0), rx.receive(0)
        assert first == first
        assert first != second
        assert len({first, second, first}) == 2
        assert os.getpid() in {info.pid for info in region.processes()}
        first.release()
        second.release()
