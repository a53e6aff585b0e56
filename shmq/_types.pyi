# SPDX-License-Identifier: MIT
from typing import Any

__test__: dict[str, Any]

__pyx_capi__: dict[str, Any]
