"""How far a save has come, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a save has come."""

    name: str
    """The file being written."""
    done_bytes: int
    total_bytes: int
    retries: int
    """How often the connection was cut so far."""


ProgressOption: TypeAlias = bool | Callable[[Progress], None]


@contextmanager
def following(option: ProgressOption) -> Iterator[Callable[[Progress], None]]:
    """What to call with each step: a bar for each file on standard error for True, nothing for False."""
    if callable(option):
        yield option
    elif not option:
        yield lambda _: None
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, TaskID] = {}

            def step(progress: Progress) -> None:
                again = f" (connection cut {progress.retries}×)" if progress.retries else ""
                if progress.name not in tasks:
                    tasks[progress.name] = bars.add_task("", total=None)
                bars.update(
                    tasks[progress.name],
                    description=progress.name + again,
                    completed=progress.done_bytes,
                    total=progress.total_bytes,
                )

            yield step
