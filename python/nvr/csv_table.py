"""Tables from CSV files (RFC 4180), with every fault located by row and column.

The first row names the columns, in any order. Text is UTF-8; a byte order mark, as
spreadsheets write it, is skipped, and so are rows without content.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from nvr.errors import ConfigError, InvalidArgument
from nvr.files import file_errors

__all__ = ["Cells", "Faults", "Row", "Table", "read_file", "write"]

T = TypeVar("T")

_MAX_FAULTS = 50
_MAX_SHOWN = 40


def read_file(path: Path, most_bytes: int) -> bytes:
    """A file that is not larger. Raises :exc:`ConfigError` and :exc:`nvr.errors.StoreError`."""
    with file_errors("cannot read", path), path.open("rb") as file:
        raw = file.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise ConfigError(f"{path}: larger than {most_bytes >> 20} MiB; split it")
    return raw


class Faults:
    """What is wrong with a file; only the first ones are kept."""

    def __init__(self, source: object) -> None:
        """``source``: what the file is called."""
        self._source = source
        self._lines: list[str] = []
        self.found = 0

    def add(self, line: int | str, column: str, message: str) -> None:
        """A fault at a line (or another place), in a column if it is one's."""
        self.found += 1
        if len(self._lines) < _MAX_FAULTS:
            where = f"{column}: " if column else ""
            self._lines.append(f"{self._source}:{line}: {where}{message}")

    def raise_if_any(self) -> None:
        """Raises :exc:`ConfigError` with a line for each fault."""
        if self.found:
            more = self.found - len(self._lines)
            lines = [*self._lines, f"… and {more} more"] if more else self._lines
            raise ConfigError("\n".join(lines), facts={"faults": str(self.found)})


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """What a row holds, and where it stands: its last line, or another place in a file that has none."""

    line: int | str
    value: T


class Cells:
    """The cells of a row by their columns, and what is wrong with them."""

    def __init__(self, cells: Mapping[str, str], line: int | str, faults: Faults) -> None:
        self._cells = cells
        self._before = faults.found
        self._faults = faults
        self.line = line

    def __getitem__(self, column: str) -> str:
        """Empty where the table has no such column."""
        return self._cells.get(column, "")

    @property
    def good(self) -> bool:
        """Whether nothing was found wrong."""
        return self._faults.found == self._before

    def add(self, column: str, message: str) -> None:
        """Something is wrong with a cell."""
        self._faults.add(self.line, column, message)

    def check(self, column: str, make: Callable[[str], T], otherwise: T) -> T:
        """What a cell means; ``otherwise`` where it is wrong, which is kept as a fault."""
        try:
            return make(self[column])
        except InvalidArgument as error:
            self.refuse(error, column)
            return otherwise

    def refuse(self, error: InvalidArgument, column: str) -> None:
        """Keeps what was found wrong with a cell: checks put the field first, and here the column says it."""
        self.add(column, error.message.partition(": ")[2] or error.message)


@dataclass(frozen=True, slots=True)
class Table:
    """Which columns a table has. ``what``: what a row is."""

    columns: Sequence[str]
    required: Sequence[str]
    what: str

    def rows(self, raw: bytes, source: object, faults: Faults) -> Iterator[Cells]:
        """The rows whose cells are as many as there are columns, stripped of blanks."""
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{source}:{line}: not UTF-8; save it as 'CSV UTF-8'") from None
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header: list[str] | None = None
        any_rows = False
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                faults.add(reader.line_num, "", f"not CSV: {error}")
                break
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if not self._check_header(header, line, faults):
                    return
            elif len(cells) != len(header):
                faults.add(line, "", f"has {len(cells)} columns where the first row has {len(header)}")
            else:
                any_rows = True
                yield Cells(dict(zip(header, (cell.strip() for cell in cells), strict=True)), line, faults)
        if header is None:
            faults.add(1, "", f"empty; the first row names the columns: {','.join(self.columns)}")
        elif not any_rows and not faults.found:
            faults.add(1, "", f"no {self.what} follows the first row")

    def _check_header(self, header: Sequence[str], line: int, faults: Faults) -> bool:
        before = faults.found
        for column in header:
            if column not in self.columns:
                shown = column[:_MAX_SHOWN] or "(empty)"
                faults.add(line, shown, f"no such column; there are {', '.join(self.columns)}")
            elif header.count(column) > 1:
                faults.add(line, column, "is there twice")
        for column in self.required:
            if column not in header:
                faults.add(line, column, "the column is missing")
        return faults.found == before


def write(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text, whose lines end in a line feed."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
