"""What commands print: tables for people, JSON Lines for programs.

Answers go to standard output; progress, notes and warnings to standard error.
With ``--json`` standard output has one JSON object a line and nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from nvr.cli.times import show_instant
from nvr.footage.types import Notice, TimeRange

_WIDE = 10_000


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command prints."""

    as_json: bool = False
    zone: tzinfo | None = None

    def instant(self, at_us: int) -> str:
        """An instant for people, in the zone asked for."""
        return show_instant(at_us, self.zone)

    def range(self, range_: TimeRange) -> str:
        """A range for people, in the zone asked for."""
        return f"{self.instant(range_.start_us)} to {self.instant(range_.end_us)}"

    def record(self, record: Mapping[str, Any]) -> None:
        """Prints one JSON object, at once: what reads it may be waiting."""
        print(json.dumps(record, ensure_ascii=False), flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Prints a table."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        # Another program reads lines: none is folded for it.
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table)

    def line(self, text: str) -> None:
        """Prints a line for people."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Says something beside the answer, to people and only to them."""
        if not self.as_json:
            print(text, file=sys.stderr, flush=True)

    def warn(self, warnings: Iterable[Notice], *, complete: bool | None = True) -> None:
        """Says what the node said about its answer; programs have it in the answer."""
        for warning in warnings:
            where = f" ({warning.node})" if warning.node else ""
            self.note(f"warning: {warning.code}{where}: {warning.message}")
        if complete is False:
            self.note("warning: the answer is incomplete")

    @property
    def progress(self) -> bool:
        """Whether a progress bar has somebody to look at it."""
        return not self.as_json and sys.stderr.isatty()
