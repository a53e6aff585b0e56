# SPDX-License-Identifier: MIT
from typing import Any, final

from ._loan import Lender

__test__: dict[str, Any]

@final
class Sender(Lender[bool]):
    def shutdown(self, immediate: bool = False) -> None: ...
