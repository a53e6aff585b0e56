# SPDX-License-Identifier: MIT
"""What the demonstration needs of a terminal: lines, tables and progress, with rich where it is installed."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Advance = Callable[[int], None]

OURS = "bold green"


class PlainTerminal:
    """Plain text, for pipes, logs and machines without rich."""

    def say(self, text: str = "", style: str = "") -> None:
        """Print one line. `style` is "bold", "dim", "green" or "red"; plain text leaves it out."""
        print(text, flush=True)

    def table(
        self,
        title: str,
        header: Sequence[Sequence[str]],
        rows: Sequence[Sequence[str]],
        ours: Callable[[int, int], bool],
    ) -> None:
        """Print a table: the first column flush left, the others right.

        Args:
            title: Stands above it.
            header: The lines of its head.
            rows: The lines of its body.
            ours: Whether the cell of this row and column stands out; row -1 is the head.
        """
        rule = ["-" * max(map(len, column)) for column in zip(*header, *rows, strict=True)]
        widths = [len(dashes) for dashes in rule]

        def line(cells: Sequence[str]) -> str:
            padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            return "  " + "  ".join([cells[0].ljust(widths[0]), *padded[1:]]).rstrip()

        self.say(f"\n{title}\n")
        for cells in (*header, rule, *rows):
            self.say(line(cells))
        self.say()

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        """Show how much of `total` is done: call what is yielded with the count so far."""
        live = sys.stdout.isatty()
        if not live:
            self.say(f"  {label}")

        def advance(done: int) -> None:
            if live:
                print(f"\r  {label}  {done * 100 // max(total, 1):3d} %", end="", flush=True)

        yield advance
        if live:
            print(f"\r  {label}  100 %")


class RichTerminal:
    """The same with colours, rules and bars."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def say(self, text: str = "", style: str = "") -> None:
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)

    def table(
        self,
        title: str,
        header: Sequence[Sequence[str]],
        rows: Sequence[Sequence[str]],
        ours: Callable[[int, int], bool],
    ) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
        )
        for column, names in enumerate(zip(*header, strict=True)):
            head = Text("\n".join(names), style=OURS if ours(-1, column) else "")
            table.add_column(head, justify="right" if column else "left", no_wrap=True)
        for row, cells in enumerate(rows):
            table.add_row(*(Text(cell, style=OURS if ours(row, column) else "") for column, cell in enumerate(cells)))
        self._console.print()
        self._console.print(table)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, refresh_per_second=4) as bars:
            task = bars.add_task(label.ljust(40), total=max(total, 1))
            yield lambda done: bars.update(task, completed=done)
            bars.update(task, completed=max(total, 1))


def open_terminal() -> PlainTerminal | RichTerminal:
    """The best that is installed."""
    try:
        return RichTerminal()
    except ImportError:
        return PlainTerminal()
