# SPDX-License-Identifier: MIT
from typing import Any

__test__: dict[str, Any]

def cache_line_probe(rounds: int = 100_000) -> float: ...
