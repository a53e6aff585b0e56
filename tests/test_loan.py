# SPDX-License-Identifier: MIT
"""Loans: blocks written in place, sent or discarded, and never written to afterwards."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Thread, drain, held, small, until

import shmq

MIB = 1 << 20

# ---- writing in place --------------------------------------------------------------------------------------


def test_what_is_written_by_index_slice_view_and_array_is_what_arrives() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan(12)
        loan[:] = bytes(12)
        loan[0] = 1
        loan[-1] = 12
        loan[2:4] = b"\x03\x04"
        loan[4:4] = b""
        with loan.memoryview as view:
            view[5] = 6
        with memoryview(loan) as view:
            view[6:8] = b"\x07\x08"
        loan.array[9] = 10
        assert (loan[0], loan[-1], loan[2:4], loan[8:20]) == (1, 12, b"\x03\x04", b"\x00\x0a\x00\x0c")
        assert loan[::-4] == b"\x0c\x08\x04"
        assert len(loan) == loan.nbytes == 12
        assert loan.send() is True
        assert drain(rx) == [bytes([1, 0, 3, 4, 0, 6, 7, 8, 0, 10, 0, 12])]


@pytest.mark.parametrize("index", [12, -13, 1 << 40])
def test_an_index_out_of_range_is_an_index_error(index: int) -> None:
    with small() as region, region.sender("q").loan(12) as loan:
        with pytest.raises(IndexError, match="12 bytes"):
            loan[index]
        with pytest.raises(IndexError, match="12 bytes"):
            loan[index] = 0
        loan.discard()


def test_a_slice_takes_exactly_as_many_bytes_as_it_has() -> None:
    with small() as region, region.sender("q").loan(12) as loan:
        for index, data in ((slice(0, 4), b"12345"), (slice(0, 4), b"123"), (slice(0, 8, 2), b"1234")):
            with pytest.raises(ValueError, match="slice of 4"):
                loan[index] = data
        with pytest.raises((ValueError, OverflowError)):
            loan[0] = 256
        with pytest.raises(TypeError):
            loan[0] = b"x"
        with pytest.raises(TypeError):
            loan["0"] = 1  # type: ignore[index]
        loan.discard()


@pytest.mark.parametrize("nbytes", [0, 1, 511, 512, 513, 4096, MIB])
def test_a_loan_of_any_size_up_to_the_largest_block(nbytes: int) -> None:
    with small() as region:
        rx = region.receiver("q")
        with region.sender("q").loan(nbytes) as loan:
            assert len(loan) == nbytes
            loan.array[...] = 7
        assert drain(rx) == [b"\x07" * nbytes]


@pytest.mark.parametrize("nbytes", [-1, -(1 << 40), MIB + 1, 1 << 40, 1 << 63, 1 << 70])
def test_a_loan_of_a_size_that_cannot_be_is_refused(nbytes: int) -> None:
    with small() as region:
        with pytest.raises(ValueError, match=str(nbytes)):
            region.sender("q").loan(nbytes)
        assert held(region) == (0, 0)


@pytest.mark.parametrize("nbytes", ["1", None, b"x", 1.5, (3,)])
def test_the_size_of_a_loan_is_a_whole_number(nbytes: Any) -> None:
    with small() as region, pytest.raises(TypeError):
        region.sender("q").loan(nbytes)


def test_a_loan_tells_its_label_shape_dtype_and_offset() -> None:
    with small() as region:
        tx = region.sender("q")
        first, second = tx.loan((2, 3), "<f4", label=9), tx.loan(5)
        assert (first.label, first.shape, first.dtype, first.nbytes) == (9, (2, 3), np.dtype("<f4"), 24)
        assert (second.label, second.shape, second.dtype) == (0, (5,), np.dtype("u1"))
        assert first.offset % 512 == second.offset % 512 == 0
        assert first.offset != second.offset
        assert repr(first) == f"<shmq.Loan 24 bytes at offset {first.offset}, label 9>"
        first.discard()
        assert repr(first) == "<shmq.Loan sent or discarded>"
        second.discard()


# ---- sent or discarded -------------------------------------------------------------------------------------


def test_leaving_a_with_block_sends_and_an_exception_discards() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        with tx.loan(4) as loan:
            loan[:] = b"sent"
        with pytest.raises(KeyError), tx.loan(4) as loan:
            raise KeyError
        with tx.loan(4) as loan:
            loan.discard()
        with tx.loan(4) as loan:
            loan[:] = b"once"
            loan.send()
        assert drain(rx) == [b"sent", b"once"]
        assert held(region) == (0, 0)


@pytest.mark.parametrize("end", ["send", "discard"])
def test_after_send_or_discard_every_use_is_refused(end: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan((2, 2), "u2", label=3)
        getattr(loan, end)()
        uses: list[Callable[[], Any]] = [
            loan.send,
            loan.send_nowait,
            loan.__enter__,
            lambda: loan.array,
            lambda: loan.memoryview,
            lambda: loan.shape,
            lambda: loan.dtype,
            lambda: loan.nbytes,
            lambda: loan.offset,
            lambda: len(loan),
            lambda: loan[0],
            lambda: loan[:],
            lambda: loan.__setitem__(0, 1),
            lambda: memoryview(loan),
            lambda: np.frombuffer(loan, "u1"),
            lambda: tx.send(loan),
            lambda: tx.send_many([loan]),
            lambda: region.publisher("t").send(loan),
        ]
        for use in uses:
            with pytest.raises(ValueError, match="sent or discarded"):
                use()
        loan.discard()
        assert loan.label == 3
        assert len(drain(rx)) == (end == "send")
        assert held(region) == (0, 0)


def test_a_dropped_loan_is_discarded() -> None:
    with small() as region:
        tx = region.sender("q")
        for _ in range(50):
            tx.loan(MIB // 2)
        tx.loan(MIB // 2).array[0] = 1
        gc.collect()
        assert held(region) == (0, 0)
        assert tx.qsize() == 0


def test_a_loan_that_was_not_sent_for_want_of_space_is_still_ones_own() -> None:
    with small() as region:
        tx, rx = region.sender("q", depth=1), region.receiver("q")
        tx.send(b"x")
        loan = tx.loan(3)
        array = loan.array
        array[:] = (1, 2, 3)
        with pytest.raises(shmq.Full):
            loan.send(timeout=0)
        array[1] = 9
        assert loan[:] == b"\x01\x09\x03"
        drain(rx)
        loan.send()
        assert drain(rx) == [b"\x01\x09\x03"]


def test_a_discarded_loan_with_a_live_view_keeps_its_block_until_the_view_dies() -> None:
    with small() as region:
        loan = region.sender("q").loan(MIB)
        view = loan.memoryview
        loan.discard()
        view[0] = 7
        with pytest.raises(shmq.OutOfBlocks):
            region.sender("q").loan(MIB)
        assert view[0] == 7
        view.release()
        region.sender("q").loan(MIB).discard()


# ---- views at the time of sending ------------------------------------------------------------------------


def views_of(loan: shmq.Loan) -> dict[str, Callable[[], Any]]:
    return {
        "memoryview": lambda: loan.memoryview,
        "buffer": lambda: memoryview(loan),
        "slice of the memoryview": lambda: loan.memoryview[2:],
        "cast of the memoryview": lambda: loan.memoryview.cast("B"),
        "array over the buffer": lambda: np.frombuffer(loan, "u1"),
        "slice": lambda: loan.array[1:],
        "slice of a slice": lambda: loan.array[1:][:1],
        "reshape": lambda: loan.array.reshape(2, -1),
        "transpose": lambda: loan.array.T,
        "view": lambda: loan.array.view("u1"),
        "reversed": lambda: loan.array[::-1],
        "flat": lambda: loan.array.ravel(),
    }


VIEWS = [
    *("memoryview", "buffer", "slice of the memoryview", "cast of the memoryview", "array over the buffer", "slice"),
    *("slice of a slice", "reshape", "transpose", "view", "reversed", "flat"),
]


@pytest.mark.parametrize("kind", VIEWS)
def test_a_live_view_of_a_loan_refuses_its_sending_and_the_loan_stays_usable(kind: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan(8, "u2")
        view = views_of(loan)[kind]()
        for send in (loan.send, loan.send_nowait):
            with pytest.raises(BufferError, match="1 writable views") as caught:
                send()
            assert "still yours" in str(caught.value)
        loan.array[...] = 0x0101
        del view
        loan.send()
        assert drain(rx) == [b"\x01" * 16]


def test_a_with_block_that_ends_with_a_live_view_raises_and_sends_nothing() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        with pytest.raises(BufferError), tx.loan(8) as loan:
            view = loan.memoryview
        assert rx.qsize() == 0
        view.release()
        loan.send()
        assert rx.qsize() == 1
        drain(rx)


def test_all_live_views_are_counted() -> None:
    with small() as region:
        loan = region.sender("q").loan(8)
        views = [loan.memoryview, loan.memoryview, loan.array[1:], loan.array[2:], memoryview(loan)]
        with pytest.raises(BufferError, match="5 writable views"):
            loan.send()
        del views
        loan.discard()


def test_the_array_that_was_handed_out_is_read_only_once_sent_and_cannot_be_made_writable() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        loan = tx.loan(4, "u2")
        array = loan.array
        assert array.flags.writeable
        assert loan.array is array
        array[:] = (1, 2, 3, 4)
        loan.send()
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 9
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        assert not array[1:].flags.writeable
        with rx.receive(0) as message:
            assert message.array.tolist() == [1, 2, 3, 4]
        assert held(region) == (0, 0)


def test_an_array_kept_after_a_discard_stays_writable_and_private() -> None:
    with small() as region:
        tx = region.sender("q")
        loan = tx.loan(512)
        array, offset = loan.array, loan.offset
        loan.discard()
        array[:] = 5
        others = [tx.loan(512) for _ in range(20)]
        assert offset not in {other.offset for other in others}
        for other in others:
            other.array[:] = 6
        assert set(array) == {5}


def test_u13_a_loan_that_one_thread_is_sending_is_sent_and_discarded_by_no_other() -> None:
    with small() as region:
        tx, other, rx = region.sender("q", depth=1), region.sender("other"), region.receiver("q")
        tx.send(b"first")
        loan = tx.loan(3)
        loan[:] = b"yes"
        sending = Thread(loan.send)
        until(sending.is_asleep)
        for use in (
            loan.send,
            loan.send_nowait,
            lambda: other.send(loan),
            lambda: other.send_many([loan]),
            lambda: region.publisher("t").send(loan),
            loan.__enter__,
            lambda: loan.array,
            lambda: loan.__setitem__(0, 1),
        ):
            with pytest.raises(ValueError, match="has been sent or discarded"):
                use()
        loan.discard()
        loan.__exit__(None, None, None)
        with rx.receive(0) as message:
            assert bytes(message) == b"first"
        assert sending.result() is True
        assert drain(rx) == [b"yes"]
        assert other.qsize() == 0
        assert held(region) == (0, 0)
