"""The link checker finds what is broken and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import check_links

OTHER = """
# Other page
## Words, with `code` & more!
## Twice
## Twice
<a id="by-hand"></a>
```
# not a heading
```
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/other.md").write_text(OTHER)
    (tmp_path / "docs/a b.png").write_bytes(b"")
    return tmp_path


def faults(root: Path, text: str) -> list[str]:
    page = root / "page.md"
    page.write_text(text)
    return [f"{found.line}: {found.target}: {found.why}" for found in check_links.check_file(page, root)]


@pytest.mark.parametrize(
    "text",
    [
        "[x](docs/other.md)",
        "[x](docs/other.md#other-page)",
        "[x](docs/other.md#words-with-code--more)",
        "[x](docs/other.md#twice) [y](docs/other.md#twice-1)",
        "[x](docs/other.md#by-hand)",
        '[x](docs/other.md "a title")',
        "![x](<docs/a b.png>) ![x](docs/a%20b.png)",
        "# Here\n[x](#here)",
        "[x](docs/)",
        "[x](https://example.org/none) <https://example.org> [m](mailto:a@example.org)",
        "[x][ref]\n\n[ref]: docs/other.md",
        "`[x](none.md)` and ``a ` [x](none.md)``",
        "```\n[x](none.md)\n```",
        "````\n```\n[x](none.md)\n```\n[x](none.md)\n````",
        '<img src="docs/a b.png">',
        "[![i](docs/a%20b.png)](docs/other.md)",
    ],
)
def test_good_links(root: Path, text: str) -> None:
    assert faults(root, text) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a\n\n[x](none.md)", "3: none.md: no such file"),
        ("![x](none.png)", "1: none.png: no such file"),
        ("[x](docs/other.md#not-a-heading)", "1: docs/other.md#not-a-heading: no such heading"),
        ("[x](docs/other.md#twice-2)", "1: docs/other.md#twice-2: no such heading"),
        ("[x](#none)", "1: #none: no such heading"),
        ("[x](/etc/hosts)", "1: /etc/hosts: a path from the root of the file system: make it relative"),
        ("[x](../../x.md)", "1: ../../x.md: leads out of the repository"),
        ("[x][none]", "1: [none]: the reference is not defined"),
        ("[none][]", "1: [none]: the reference is not defined"),
        ("[ref]: none.md", "1: none.md: no such file"),
        ('<a href="none.md">x</a>', "1: none.md: no such file"),
        ("[![i](none.png)](docs/other.md)", "1: none.png: no such file"),
        ("```\nx\n```\n[x](none.md)", "4: none.md: no such file"),
        ("[a](docs/other.md) [x](none.md)", "1: none.md: no such file"),
    ],
)
def test_broken_links(root: Path, text: str, fault: str) -> None:
    assert faults(root, text) == [fault]


def test_the_command_fails_and_names_the_place(root: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".gitignore").write_text("ignored.md\n")
    (root / "ignored.md").write_text("[x](none.md)")
    (root / "page.md").write_text("ok\n[x](none.md)")
    command = [sys.executable, check_links.__file__, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "page.md:2: none.md: no such file",
        "2 Markdown files, 1 broken links",
    ]
    (root / "page.md").write_text("ok")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
