# SPDX-License-Identifier: MIT
"""Includes and imports run one way, and `import shmq` is light."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each file may use those of earlier lines only.
HEADER_LAYERS = [
    {"steps"},
    {"atomics"},
    {"layout"},
    {"map"},
    {"buddy", "names", "os", "queue", "registry", "ticket", "wait"},
    {"await", "cache", "error", "retire"},
    {"channel", "recover"},
    {"region"},
    {"shmq"},
]
MODULE_LAYERS = [
    {"errors"},
    {"_core"},
    {"__init__"},
    {"demo.pieces", "demo.terminal"},
    {"demo.ways"},
    {"demo.company"},
    {"demo.__init__"},
    {"cli"},
    {"__main__"},
]
HEAVY = {"asyncio", "logging", "multiprocessing", "numpy", "queue", "threading", "typing"}


def rank(layers: list[set[str]], name: str) -> int:
    ranks = [number for number, layer in enumerate(layers) if name in layer]
    assert ranks, f"{name} has no layer: give it one in {Path(__file__).name}"
    return ranks[0]


@pytest.mark.parametrize("header", sorted((ROOT / "include/shmq").glob("*.h")), ids=lambda path: path.stem)
def test_a_header_includes_lower_ones_only(header: Path) -> None:
    for included in re.findall(r'^\s*#\s*include\s+"(?:shmq/)?(\w+)\.h"', header.read_text(), re.MULTILINE):
        assert rank(HEADER_LAYERS, included) < rank(HEADER_LAYERS, header.stem), f"{header.name} includes {included}.h"


def imported_modules(path: Path) -> set[str]:
    """The modules of this package that a module imports, by dotted name inside the package."""
    package = list(path.relative_to(ROOT / "shmq").parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "shmq" for alias in node.names), "import relatively"
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                parts = [*base, alias.name]
                if not (ROOT / "shmq").joinpath(*parts).with_suffix(".py").exists() and alias.name != "_core":
                    parts = base
                if (ROOT / "shmq").joinpath(*parts).is_dir():
                    parts = [*parts, "__init__"]
                found.add(".".join(parts))
    return found


@pytest.mark.parametrize(
    "module", sorted((ROOT / "shmq").rglob("*.py")), ids=lambda path: path.relative_to(ROOT / "shmq").as_posix()
)
def test_a_module_imports_lower_ones_only(module: Path) -> None:
    name = ".".join(module.relative_to(ROOT / "shmq").with_suffix("").parts)
    for imported in imported_modules(module):
        assert rank(MODULE_LAYERS, imported) < rank(MODULE_LAYERS, name), f"{name} imports {imported}"


def test_atomics_alone_speak_to_the_compiler() -> None:
    users = [header.name for header in (ROOT / "include/shmq").glob("*.h") if "__atomic_" in header.read_text()]
    assert users == ["atomics.h"]


def test_importing_shmq_loads_nothing_heavy(python: Callable[..., str]) -> None:
    code = "import sys; before = set(sys.modules); import shmq; print(*sorted(set(sys.modules) - before))"
    loaded = python("-S", "-c", code).split()
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert "shmq._core" in loaded


def test_importing_shmq_takes_milliseconds(python: Callable[..., str]) -> None:
    """The best of several, as a busy machine only ever adds."""
    code = "import time; start = time.perf_counter(); import shmq; print(time.perf_counter() - start)"
    assert min(float(python("-S", "-c", code)) for _ in range(10)) < 0.008
