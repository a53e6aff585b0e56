# SPDX-License-Identifier: MIT
from types import TracebackType
from typing import Any, final

from typing_extensions import Buffer, Never, Self, disjoint_base

__test__: dict[str, Any]

__pyx_capi__: dict[str, Any]

@disjoint_base
class Attachment:
    @property
    def name(self) -> str | None: ...
    def close(self) -> None: ...
    def __copy__(self) -> Never: ...
    def __deepcopy__(self, memo: Any) -> Never: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

@final
class Lease(Buffer): ...
