"""Checks that every relative link and anchor in the Markdown files of a repository leads somewhere.

Covers inline links, images, reference definitions and HTML ``src``/``href``, outside of code.
Anchors are those that GitHub makes of headings. Addresses with a scheme are not visited.

Run: ``python scripts/check_links.py [root]``; exit status 1 with a line for each broken link.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
# The text of a link may hold one level of brackets: an image that is a link.
INLINE = re.compile(
    r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*(<[^>]*>|[^\s()]*(?:\([^()]*\)[^\s()]*)*)(?:\s+[\"'(].*?)?\)"
)
NESTED_IMAGE = re.compile(r"!\[[^\[\]]*\]\(\s*(<[^>]*>|[^\s()]+)")
DEFINITION = re.compile(r"^ {0,3}\[(?!\^)([^\]]+)\]:\s*(<[^>]*>|\S+)")
REFERENCE = re.compile(r"\[([^\[\]]+)\]\[([^\[\]]*)\]")
HTML = re.compile(r"<[a-zA-Z][^>]*?\s(?:src|href)=[\"']([^\"']+)[\"']")
HTML_ANCHOR = re.compile(r"<[a-zA-Z][^>]*?\s(?:id|name)=[\"']([^\"']+)[\"']")
SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:|^//")


@dataclass(frozen=True)
class Broken:
    """A link that leads nowhere."""

    file: Path
    line: int
    target: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.target}: {self.why}"


def prose_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines outside of fenced code."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence:
            # A fence is closed by one at least as long, of the same character, with nothing after it.
            if match and match[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif match:
            fence = match[1]
        else:
            yield number, line


def anchor_of(heading: str) -> str:
    """The anchor that GitHub makes of a heading's text."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"<[^>]+>", "", text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def anchors_in(file: Path) -> frozenset[str]:
    """All anchors of a Markdown file; of equal headings, later ones get -1, -2 and so on."""
    found: set[str] = set()
    seen: dict[str, int] = {}
    for _, line in prose_lines(file.read_text(encoding="utf-8")):
        if match := HEADING.match(line):
            anchor = anchor_of(match[2])
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            found.add(f"{anchor}-{count}" if count else anchor)
        found.update(HTML_ANCHOR.findall(line))
    return frozenset(found)


def links_in(text: str) -> Iterator[tuple[int, str]]:
    """All link targets with their lines. An undefined reference is yielded as ``[label]``."""
    lines = [(number, CODE_SPAN.sub("", line)) for number, line in prose_lines(text)]
    defined = {match[1].lower() for _, line in lines if (match := DEFINITION.match(line))}
    for number, line in lines:
        if match := DEFINITION.match(line):
            yield number, match[2].strip("<>")
            continue
        for pattern in (INLINE, HTML):
            for target in pattern.findall(line):
                yield number, target.strip("<>")
        for match in INLINE.finditer(line):
            for target in NESTED_IMAGE.findall(match[0].rpartition("](")[0]):
                yield number, target.strip("<>")
        for label, reference in REFERENCE.findall(line):
            name = (reference or label).lower()
            if name not in defined:
                yield number, f"[{name}]"


def check_file(file: Path, root: Path) -> Iterator[Broken]:
    """The broken links of one file."""
    for line, target in links_in(file.read_text(encoding="utf-8")):
        if why := fault(file, root, target):
            yield Broken(file.relative_to(root), line, target, why)


def fault(file: Path, root: Path, target: str) -> str:
    """Why a link leads nowhere; empty when it leads somewhere."""
    if target.startswith("["):
        return "the reference is not defined"
    if SCHEME.match(target):
        return ""
    name, _, anchor = unquote(target).partition("#")
    if name.startswith("/"):
        return "a path from the root of the file system: make it relative"
    goal = (file.parent / name).resolve() if name else file.resolve()
    if not goal.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not goal.exists():
        return "no such file"
    if anchor and goal.suffix == ".md" and anchor not in anchors_in(goal):
        return "no such heading"
    return ""


def markdown_files(root: Path) -> list[Path]:
    """The Markdown files that belong to the repository: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.md"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(root / name for name in set(listed.stdout.split("\0")) if name and (root / name).is_file())


def main(arguments: list[str]) -> int:
    """Checks the repository at the given root, or the one that this script is part of."""
    root = Path(arguments[0] if arguments else Path(__file__).parents[1]).resolve()
    files = markdown_files(root)
    broken = [found for file in files for found in check_file(file, root)]
    for found in broken:
        print(found)
    print(f"{len(files)} Markdown files, {len(broken)} broken links")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
