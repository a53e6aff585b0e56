# SPDX-License-Identifier: MIT
"""Arrays: every fixed-width element type, every shape, in place on both sides and through one copy."""

import array
import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import held, small

import shmq

MIB = 1 << 20

INTEGERS = [f"{order}{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8) for order in "<>"]
FLOATS = [f"{order}f{size}" for size in (2, 4, 8) for order in "<>"] + ["g"]
COMPLEX = [f"{order}c{size}" for size in (8, 16) for order in "<>"] + ["G"]
TEXTS = ["S1", "S5", "S1000", "<U1", ">U3", "<U200"]
DTYPES = ["?", *INTEGERS, *FLOATS, *COMPLEX, *TEXTS]

SHAPES: list[tuple[int, ...]] = [
    (),
    (1,),
    (7,),
    (0,),
    (3, 4),
    (3, 0, 2),
    (1, 1, 1),
    (2, 3, 4),
    (2, 1, 3, 2),
    (2, 2, 2, 2, 2),
    (1, 2, 3, 1, 2, 2),
    (0, 0, 0, 0, 0, 0),
]


def values(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Values that differ from element to element, as far as the type can tell them apart."""
    numbers = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    dtype = np.dtype(dtype)
    if dtype.kind in "SU":
        return np.vectorize(lambda number: f"ä{number}" if dtype.kind == "U" else str(number), otypes=["U9"])(
            numbers
        ).astype(dtype)
    return (numbers * (1 + 2j) if dtype.kind == "c" else numbers % 2 if dtype.kind == "b" else numbers).astype(dtype)


def same(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """Equal in type, byte order, shape and value."""
    assert found.dtype == wanted.dtype
    assert found.dtype.isnative == wanted.dtype.isnative
    assert found.shape == wanted.shape
    assert found.tolist() == wanted.tolist()
    assert found.flags.c_contiguous
    assert found.flags.aligned


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_any_fixed_width_type_arrives_as_it_was_sent(dtype: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        sent = values((3, 4), dtype)
        tx.send(sent)
        with rx.receive(0) as message:
            same(message.array, sent)
            assert (message.dtype, message.shape, message.nbytes) == (sent.dtype, sent.shape, sent.nbytes)
            assert bytes(message) == sent.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_any_fixed_width_type_is_written_and_read_in_place(dtype: str) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        wanted = values((2, 5), dtype)
        with tx.loan((2, 5), dtype) as loan:
            assert loan.array.dtype == wanted.dtype
            loan.array[...] = wanted
        with rx.receive(0) as message:
            same(message.array, wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_of_any_shape_arrives_by_copy_and_in_place(shape: tuple[int, ...]) -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        wanted = values(shape, ">i4")
        tx.send(wanted)
        with tx.loan(shape, ">i4") as loan:
            assert loan.shape == loan.array.shape == shape
            loan.array[...] = wanted
        for _ in range(2):
            with rx.receive(0) as message:
                same(message.array, wanted)
                assert message.shape == shape
                view = message.memoryview
                assert (view.shape, view.ndim, view.nbytes, view.format) == (shape, len(shape), wanted.nbytes, ">i")
                if wanted.size:
                    same(np.asarray(view), wanted)
                view.release()


@pytest.mark.parametrize(
    "shape", [5, (5,), [5], np.int64(5), (np.int32(5),), np.array([5]), (True, 5)], ids=lambda shape: repr(shape)
)
def test_a_shape_is_a_number_or_a_sequence_of_numbers(shape: Any) -> None:
    with small() as region, region.sender("q").loan(shape, "u1") as loan:
        assert loan.array.size == 5
        loan.discard()


@pytest.mark.parametrize("dtype", [float, int, bool, complex, np.float32, np.dtype("<u2"), "d", "float16", np.uint8])
def test_an_element_type_is_anything_that_numpy_takes(dtype: Any) -> None:
    with small() as region, region.sender("q").loan((2, 2), dtype) as loan:
        assert loan.array.dtype == np.dtype(dtype)
        loan.discard()


# ---- layouts that are not C order ------------------------------------------------------------------------


LAYOUTS: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
    "fortran order": lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": lambda: np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "every second": lambda: np.arange(20, dtype="u2")[::2],
    "backwards": lambda: np.arange(5)[::-1],
    "a column": lambda: np.arange(12.0).reshape(3, 4)[:, 1],
    "broadcast": lambda: np.broadcast_to(np.float32(3), (4, 5)),
    "read-only": lambda: np.frombuffer(b"abcd", "u1"),
    "unaligned": lambda: np.frombuffer(b"x" + np.arange(3.0).tobytes(), "u1")[1:].view("f8"),
    "a scalar": lambda: np.float64(2.5),  # type: ignore[dict-item,return-value]
    "texts backwards": lambda: np.array(["one", "two", "three"])[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_in_another_layout_arrives_in_c_order_with_its_shape(layout: str) -> None:
    with small() as region:
        sent = LAYOUTS[layout]()
        region.sender("q").send(sent)
        with region.receiver("q").receive(0) as message:
            same(message.array, np.asarray(sent, order="C"))


def test_subclasses_of_arrays_arrive_as_plain_arrays() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for sent in (np.ma.array([[1, 2], [3, 4]]), np.array([1.5, 2.5]).view(np.recarray)):
            tx.send(sent)
            with rx.receive(0) as message:
                assert type(message.array) is np.ndarray
                same(message.array, np.asarray(sent))


# ---- buffers that are no arrays --------------------------------------------------------------------------


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_an_array_of_the_standard_library_arrives_with_its_type(code: str) -> None:
    with small() as region:
        sent = array.array(code, [1, 2, 3])
        region.sender("q").send(sent)
        with region.receiver("q").receive(0) as message:
            assert message.array.tolist() == sent.tolist()
            assert message.dtype == np.dtype(code)


def test_typed_memoryviews_arrive_with_type_and_shape() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        for sent in (
            memoryview(bytes(range(48))).cast("d", [2, 3]),
            memoryview(array.array("h", range(12))).cast("B").cast("h", [3, 2, 2]),
            memoryview(bytes(range(6))).cast("B", [2, 3]),
            memoryview((ctypes.c_double * 3)(1, 2, 3)),
            memoryview(b"\x01\x00").cast("?"),
        ):
            tx.send(sent)
            with rx.receive(0) as message, message.memoryview as view:
                assert (view.shape, view.itemsize, view.nbytes) == (sent.shape, sent.itemsize, sent.nbytes)
                assert view.tolist() == (sent.tolist() if sent.format[0] != "<" else [1, 2, 3])


def test_a_message_can_be_sent_on_with_its_type() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        sent = values((2, 3), "<f4")
        tx.send(sent)
        with rx.receive(0) as first:
            tx.send(first)
            tx.send(first.memoryview)
        for _ in range(2):
            with rx.receive(0) as message:
                same(message.array, sent)


# ---- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype",
    ["O", object, "M8[ns]", "m8[s]", "V8", "S0", "S", "U", [("a", "i4")], np.dtype([("a", "i4")]), np.dtype(("i4", 3))],
    ids=repr,
)
def test_an_element_type_that_cannot_travel_is_refused_for_a_loan(dtype: Any) -> None:
    with small() as region:
        with pytest.raises(ValueError, match=r"dtype .* cannot be sent"):
            region.sender("q").loan(3, dtype)
        assert held(region) == (0, 0)


@pytest.mark.parametrize("dtype", ["no such type", "i3", b"x", 5])
def test_what_is_no_element_type_is_refused(dtype: Any) -> None:
    with small() as region, pytest.raises(TypeError):
        region.sender("q").loan(3, dtype)


SENT_OBJECTS: dict[str, Callable[[], Any]] = {
    "objects": lambda: np.array([{}, []], dtype=object),
    "an object": lambda: np.array(None, dtype=object),
    "objects backwards": lambda: np.array([{}, [], ()], dtype=object)[::-1],
    "a record with an object": lambda: np.zeros(2, dtype=[("a", "i4"), ("b", "O")]),
}


@pytest.mark.parametrize("what", SENT_OBJECTS)
def test_an_array_of_objects_is_never_sent(what: str) -> None:
    with small() as region:
        tx = region.sender("q")
        with pytest.raises((ValueError, TypeError), match=r"dtype|object"):
            tx.send(SENT_OBJECTS[what]())
        assert tx.qsize() == 0
        assert held(region) == (0, 0)


@pytest.mark.parametrize(
    "dtype", ["M8[ns]", "m8[s]", "V8", [("a", "i4"), ("b", "f8")]], ids=lambda dtype: str(np.dtype(dtype))
)
def test_an_array_whose_type_cannot_travel_is_refused_rather_than_sent_as_something_else(dtype: Any) -> None:
    with small() as region:
        tx = region.sender("q")
        with pytest.raises((ValueError, TypeError, BufferError)):
            tx.send(np.zeros(3, dtype=dtype))
        assert tx.qsize() == 0
        assert held(region) == (0, 0)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((1,) * 7, ValueError),
        (-1, ValueError),
        ((2, -3), ValueError),
        (1 << 32, ValueError),
        ((1 << 31, 1 << 31, 1 << 31), ValueError),
        ((1 << 16, 1 << 16, 1 << 16, 1 << 16), ValueError),
        ((MIB, 2), ValueError),
        ("5", TypeError),
        (1.5, TypeError),
        ((1.5,), TypeError),
        ((None,), TypeError),
        (None, TypeError),
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape: Any, error: type[Exception]) -> None:
    with small() as region:
        with pytest.raises(error):
            region.sender("q").loan(shape, "u1")
        assert held(region) == (0, 0)


def test_an_array_of_seven_dimensions_says_how_many_it_may_have() -> None:
    with small() as region:
        with pytest.raises(ValueError, match=r"7 dimensions.*at most 6"):
            region.sender("q").loan((1,) * 7, "u1")
        with pytest.raises(ValueError, match=r"7 dimensions.*at most 6"):
            region.sender("q").send(np.zeros((1,) * 7))
        assert held(region) == (0, 0)


def test_an_array_larger_than_any_block_is_refused_with_both_sizes() -> None:
    with small() as region:
        for call in (
            lambda: region.sender("q").loan((MIB, 2), "f8"),
            lambda: region.sender("q").send(np.zeros((MIB, 2))),
        ):
            with pytest.raises(ValueError, match=rf"{16 * MIB} bytes asked.*{MIB} bytes"):
                call()


def test_a_damaged_description_is_a_typed_error_and_the_bytes_can_still_be_read(shmq_dir: Any) -> None:
    with small() as region:
        sent = np.arange(5, dtype="<i4")
        region.sender("q").send(sent)
        message = region.receiver("q").receive(0)
        admin = shmq_dir / "r" / "admin"
        content = admin.read_bytes()
        described = (ord("i") | 1 << 8 | ord("<") << 16 | 4 << 32).to_bytes(8, "little")
        at = content.index(described)
        for damaged in (b"O", b"\0", b"f"):
            with admin.open("r+b") as file:
                file.seek(at)
                file.write(damaged)
                if damaged == b"f":
                    file.seek(at + 4)
                    file.write(b"\x08")  # 5 doubles are not 20 bytes
            for use in (lambda: message.array, lambda: message.memoryview, lambda: message.shape):
                with pytest.raises(shmq.RegionCorruptError, match=f"offset {message.offset}"):
                    use()
            assert bytes(message) == sent.tobytes()
        message.release()
        assert held(region) == (0, 0)
