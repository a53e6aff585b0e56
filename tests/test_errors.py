# SPDX-License-Identifier: MIT
"""The exception tree: what each error is besides a ShmqError, and that it costs nothing until it is needed."""

import pickle
import queue
from collections.abc import Callable

import pytest

from shmq import errors

ALSO = {
    "RegionFileError": OSError,
    "DecodeError": ValueError,
    "Empty": queue.Empty,
    "EncodeError": TypeError,
    "Full": queue.Full,
    "OutOfBlocks": MemoryError,
    "RegionExistsError": FileExistsError,
    "RegionNotFoundError": FileNotFoundError,
    "RegionPermissionError": PermissionError,
    "RegionSecurityError": PermissionError,
    "RegionSpaceError": MemoryError,
    "ShutDown": getattr(queue, "ShutDown", errors.ShmqError),
}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_shmq_error_and_what_the_standard_library_calls_it(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, errors.ShmqError)
    assert issubclass(error, ALSO.get(name, errors.ShmqError))
    if name not in ALSO:
        assert error.__mro__[-4:] == (errors.ShmqError, Exception, BaseException, object)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_says_in_one_sentence_when_it_comes_and_what_to_do(name: str) -> None:
    text = getattr(errors, name).__doc__
    assert text.endswith(".")
    assert text.count(". ") == 0
    assert ": " in text


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_travels_between_processes(name: str) -> None:
    error = getattr(errors, name)("what happened")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == "what happened"


def test_an_error_is_the_same_class_however_it_is_reached() -> None:
    import shmq

    for name in errors.__all__:
        assert getattr(shmq, name) is getattr(errors, name)
        assert getattr(errors, name).__module__ == "shmq.errors"
        assert getattr(errors, name).__qualname__ == name


def test_the_queue_module_is_imported_with_the_first_error_that_needs_it(python: Callable[..., str]) -> None:
    look = "'queue' in sys.modules"
    code = f"import sys, shmq; before = {look}; first = shmq.Full; print(before, {look}, first is shmq.errors.Full)"
    assert python("-S", "-c", code).split() == ["False", "True", "True"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Fool"):
        errors.Fool  # noqa: B018
