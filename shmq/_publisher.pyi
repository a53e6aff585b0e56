# SPDX-License-Identifier: MIT
from typing import Any, final

from ._loan import Lender

__test__: dict[str, Any]

@final
class Publisher(Lender[int]):
    @property
    def subscribers(self) -> int: ...
    @property
    def depth(self) -> int: ...
    def qsize(self) -> int: ...
    def shutdown(self) -> None: ...
