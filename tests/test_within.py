# SPDX-License-Identifier: MIT
"""`with` on loans and messages: its methods are bound to recycled objects, which nobody can tell but by the clock."""

import contextlib
import inspect
import sys
from typing import Any

import pytest
from helpers import drain, held, small

from shmq._loan import Loan
from shmq._receiver import Message

WITHIN: list[type] = [Loan, Message]


@pytest.mark.parametrize("kind", WITHIN)
@pytest.mark.parametrize("name", ["__enter__", "__exit__"])
def test_the_class_shows_plain_methods(kind: type, name: str) -> None:
    method = getattr(kind, name)
    assert inspect.ismethoddescriptor(method)
    assert method.__name__ == name
    assert method.__objclass__ is kind


def test_a_with_block_nests_deeper_than_objects_are_kept_for_recycling() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        with contextlib.ExitStack() as stack:
            for number in range(100):
                stack.enter_context(tx.loan(1))[0] = number
        with contextlib.ExitStack() as stack:  # the last loan was the first to be sent
            assert [stack.enter_context(rx.receive(0))[0] for _ in range(100)] == list(range(99, -1, -1))
        assert held(region) == (0, 0)


def nest(tx: Any, depth: int) -> None:
    with tx.loan(1) as loan:
        loan[0] = depth
        if depth:
            nest(tx, depth - 1)


def test_blocks_within_blocks_each_leave_their_own() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        nest(tx, 50)
        assert [data[0] for data in drain(rx)] == list(range(51))
        assert held(region) == (0, 0)


def test_a_bound_method_keeps_its_object_and_no_longer() -> None:
    with small() as region:
        tx, rx = region.sender("q"), region.receiver("q")
        tx.send(b"x")
        leave = rx.receive(0).__exit__
        assert held(region) == (0, 1)
        leave(None, None, None)
        assert held(region) == (0, 0)
        before = sys.getrefcount(tx)
        for _ in range(100):
            assert tx.loan(1).__exit__ is not None
        assert sys.getrefcount(tx) == before
        assert held(region) == (0, 0)


@pytest.mark.parametrize("arguments", [(), (None,), (None, None), (None, None, None, None)])
def test_the_wrong_number_of_arguments_is_refused(arguments: tuple[None, ...]) -> None:
    with small() as region:
        with region.sender("q").loan(1) as loan:
            with pytest.raises(TypeError, match="__exit__"):
                loan.__exit__(*arguments)
            with pytest.raises(TypeError, match="__enter__"):
                loan.__enter__(None)  # type: ignore[call-arg]
        drain(region.receiver("q"))


def test_another_object_cannot_borrow_the_methods() -> None:
    with pytest.raises(TypeError):
        Message.__enter__(Loan)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        vars(Message)["__enter__"].__get__(5, int)()
