# SPDX-License-Identifier: MIT
from types import TracebackType
from typing import Any, final

from typing_extensions import Buffer, Self, disjoint_base

__test__: dict[str, Any]

__pyx_capi__: dict[str, Any]

@disjoint_base
class Attachment:
    @property
    def name(self) -> str: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

@final
class Lease(Buffer): ...
