# SPDX-License-Identifier: MIT
"""Includes and imports run one way, and `import shmq` is light."""

import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include/shmq"
PACKAGE = ROOT / "shmq"
HEAVY = {"asyncio", "logging", "multiprocessing", "numpy", "queue", "threading", "typing"}

Graph = dict[str, set[str]]


def includes() -> Graph:
    """Which headers each header includes."""
    return {
        header.name: set(re.findall(r'^\s*#\s*include\s+"(?:shmq/)?([\w.]+)"', header.read_text(), re.MULTILINE))
        for header in HEADERS.glob("*.h")
    }


def imported_names(text: str, package: str) -> Iterator[str]:
    """Modules of ours that the top level of a module imports or cimports, and the names taken from packages."""
    for dots, source, names in re.findall(
        r"^from (\.*)([\w.]*) c?import (\(.*?\)|[^\n]*)", text, re.MULTILINE | re.DOTALL
    ):
        if dots:
            parents = package.split(".")
            source = ".".join([*parents[: len(parents) - len(dots) + 1], *filter(None, [source])])
        yield source
        yield from (f"{source}.{name}" for name in re.findall(r"\w+", names))
    yield from re.findall(r"^c?import (shmq[\w.]*)", text, re.MULTILINE)


def imports() -> Graph:
    """Which modules each module needs before it can be imported; a .pyx and its .pxd are one."""
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd"}]
    module_of = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files
    }
    graph: Graph = {name: set() for name in module_of.values()}
    for path, name in module_of.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found = graph.keys() & set(imported_names(path.read_text(), package))
        graph[name] |= found - {name, "shmq"}  # whoever imports shmq.x has begun to import shmq
    return graph


def reachable(graph: Graph, start: str) -> set[str]:
    """All that `start` needs, directly or not."""
    found: set[str] = set()
    waiting = {start}
    while waiting:
        one = waiting.pop()
        waiting |= graph[one] - found
        found |= graph[one]
    return found


@pytest.mark.parametrize("graph", [includes(), imports()], ids=["includes", "imports"])
def test_dependencies_run_one_way(graph: Graph) -> None:
    assert len(graph) > 5
    assert any(graph.values())
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("header", ["channel.h", "recover.h", "await.h"])
def test_the_algorithm_makes_no_system_call(header: str) -> None:
    """What the simulator runs knows neither the operating system nor files."""
    graph = includes()
    for name in {header} | reachable(graph, header):
        assert name not in {"os.h", "region.h"}
        system = set(re.findall(r"^\s*#\s*include\s+<([\w./]+)>", (HEADERS / name).read_text(), re.MULTILINE))
        assert system <= {"stdbool.h", "stddef.h", "stdint.h", "string.h"}


def test_errors_stand_alone() -> None:
    assert imports()["shmq.errors"] == set()


def test_nothing_but_the_command_line_knows_the_demonstration() -> None:
    graph = imports()
    outside = {name for name in graph if not name.startswith("shmq.demo")}
    assert {name for name in outside if any(used.startswith("shmq.demo") for used in graph[name])} <= {"shmq.cli"}
    assert "shmq.cli" not in reachable(graph, "shmq")


def test_atomics_alone_speak_to_the_compiler() -> None:
    users = [header.name for header in HEADERS.glob("*.h") if "__atomic_" in header.read_text()]
    assert users == ["atomics.h"]


def test_one_module_maps_regions() -> None:
    """Each module that includes the headers has a guard against SIGBUS of its own, and one of them is installed."""
    mapping = re.compile(r"\bshmq_(?:region_(?:open|list|unlink)|guard_install)\(")
    assert [path.name for path in PACKAGE.glob("*.pyx") if mapping.search(path.read_text())] == ["_attachment.pyx"]


def test_importing_shmq_loads_nothing_heavy(python: Callable[..., str]) -> None:
    code = "import sys; before = set(sys.modules); import shmq; print(*sorted(set(sys.modules) - before))"
    loaded = python("-S", "-c", code).split()
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert "shmq._region" in loaded
