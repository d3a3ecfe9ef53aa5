"""How results show themselves: in a shell, in rich, in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from nvr.footage.time import format_instant
from nvr.footage.types import Notice, TimeRange

if TYPE_CHECKING:
    from rich.console import Group

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class View:
    """A table with a title and lines below it: what every result can be shown as."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = field(default_factory=tuple)


class Shown:
    """Gives a class rich and notebook reprs from its one :meth:`view`."""

    __slots__ = ()

    def view(self) -> View:
        """What there is to see."""
        raise NotImplementedError

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        view = self.view()
        parts: list[Text | Table] = [Text(view.title, style="bold")]
        if view.rows:
            table = Table(box=None, pad_edge=False, header_style="dim")
            for column in view.columns:
                table.add_column(column)
            for row in view.rows:
                table.add_row(*(Text(cell) for cell in row))
            parts.append(table)
        parts.extend(Text(note, style="yellow") for note in view.notes)
        return Group(*parts)

    def _repr_html_(self) -> str | None:
        view = self.view()
        html = [f"<div><b>{escape(view.title)}</b>"]
        if view.rows:
            html.append("<table><thead><tr>")
            html.extend(f"<th>{escape(column)}</th>" for column in view.columns)
            html.append("</tr></thead><tbody>")
            html.extend(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in view.rows
            )
            html.append("</tbody></table>")
        html.extend(f"<div><i>{escape(note)}</i></div>" for note in view.notes)
        html.append("</div>")
        return "".join(html)


def size_text(size_bytes: int) -> str:
    """A number of bytes for people: ``15.2 MiB``."""
    value = float(size_bytes)
    for unit in _SIZES:
        if value < 1024 or unit == _SIZES[-1]:
            return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes everything")


def range_text(range_: TimeRange) -> str:
    """A range as two instants in UTC."""
    return f"{format_instant(range_.start_us)} to {format_instant(range_.end_us)}"


def notice_text(notice: Notice) -> str:
    """A warning of an answer as one line."""
    where = f" ({notice.node})" if notice.node else ""
    return f"{notice.code}{where}: {notice.message}" if notice.message else f"{notice.code}{where}"
