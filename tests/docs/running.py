"""Blocks of the documents, and how a reader runs them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.documents import Block, blocks, pages

ALL = [block for page in pages() for block in blocks(page)]
CAMERA = "market-gate"


def cases(blocks_: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in blocks_]


def that_run(where: str) -> list[object]:
    found = cases([block for block in ALL if block.where == where])
    assert found, f"no block is marked <!-- run: {where} -->"
    return found


def with_programs(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment with the venv's programs first."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **extra}


def run(block: Block, folder: Path, *, extra: dict[str, str], replace: Mapping[str, str]) -> None:
    """Runs a block as a reader would: in one shell, in a folder, with the venv's programs."""
    text = block.text if block.language == "python" else "\n".join(block.commands) + "\n"
    for old, new in replace.items():
        text = text.replace(old, new)
    script = folder / "block"
    script.write_text(text)
    program = [sys.executable] if block.language == "python" else ["bash", "-euo", "pipefail"]
    done = subprocess.run(
        [*program, str(script)],
        cwd=folder,
        env=with_programs(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.name}\n{text}\n{done.stdout}\n{done.stderr}"


class Running(NamedTuple):
    """A recorder that has footage of ``market-gate``."""

    address: str
    store: Path
