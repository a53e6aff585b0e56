# SPDX-License-Identifier: MIT
from typing import Any, final

from ._loan import Lender

__test__: dict[str, Any]

@final
class Publisher(Lender[int]):
    @property
    def subscribers(self) -> int: ...
    def shutdown(self) -> None: ...
