# SPDX-License-Identifier: MIT
"""What `import shmq` offers, no more and no less."""

import types
from collections.abc import Callable

import pytest

import shmq

NOT_IN_ALL = {"open"}  # it would hide the built-in


def test_everything_in_all_is_there() -> None:
    assert len(shmq.__all__) == len(set(shmq.__all__))
    assert [name for name in shmq.__all__ if not hasattr(shmq, name)] == []
    assert set(shmq.__all__) <= set(dir(shmq))


def test_everything_public_is_in_all() -> None:
    public = {
        name
        for name, value in vars(shmq).items()
        if not name.startswith("_") and name != "TYPE_CHECKING" and not isinstance(value, types.ModuleType)
    }
    assert public - NOT_IN_ALL <= set(shmq.__all__)
    assert callable(shmq.open)


def test_a_star_import_leaves_the_builtin_open_alone() -> None:
    namespace: dict[str, object] = {}
    exec("from shmq import *\nfrom builtins import open as builtin", namespace)
    assert "open" not in namespace
    assert namespace["Full"] is shmq.Full


def test_every_error_is_exported() -> None:
    assert set(shmq.errors.__all__) <= set(shmq.__all__)


@pytest.mark.parametrize("name", [*shmq.__all__, *NOT_IN_ALL])
def test_everything_public_says_what_it_is(name: str) -> None:
    assert (getattr(shmq, name).__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sned'"):
        shmq.sned  # noqa: B018


def test_the_version_is_a_plain_string(python: Callable[..., str]) -> None:
    assert python("-c", "import shmq; print(shmq.__version__)").strip() == shmq.__version__
