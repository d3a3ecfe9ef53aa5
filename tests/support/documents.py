"""Fenced blocks of the Markdown files, and what their readers are told to do.

An HTML comment on the line before a fence says where the block runs (see CONTRIBUTING.md):
``<!-- run -->``, or ``<!-- run: node -->`` and the like.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
MARKER = re.compile(r"^<!-- run(?:: (\w+))? -->\s*$")


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    language: str
    where: str | None
    """None: not to be run; ``""``: anywhere; else the surroundings that it needs."""
    text: str

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a console block, each on one line."""
        joined = self.text.replace("\\\n", " ")
        return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def pages() -> list[Path]:
    """The pages that readers follow."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    where: str | None = None
    opened: tuple[int, str, str] | None = None
    body: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened is not None:
            if line.startswith(opened[1]) and not line.strip("` "):
                yield Block(page, opened[0], opened[2], where, "\n".join(body) + "\n")
                opened, where = None, None
            else:
                body.append(line)
        elif fence := FENCE.match(line):
            opened, body = (number, fence[1], fence[2]), []
        elif marker := MARKER.match(line):
            where = marker[1] or ""
        elif line.strip():
            where = None


def nvr_command(command: str) -> tuple[tuple[str, ...], list[str]] | None:
    """The sub-commands and options of a line that calls ``nvr``; None for others."""
    # What follows a pipe is another program.
    words = shlex.split(command.split(" | ")[0], comments=True)
    if not words or words[0] != "nvr":
        return None
    called = []
    for word in words[1:3]:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        called.append(word)
    ages = re.compile(r"-[0-9]")
    options = [word.split("=")[0] for word in words[1:] if word.startswith("-") and not ages.match(word)]
    return tuple(called), options
