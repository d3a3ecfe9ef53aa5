import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import memory_node
from tests.support.processes import REPOSITORY


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def node() -> Iterator[str]:
    with memory_node() as address:
        yield address


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``nvr …`` in a folder of its own; stands for a shell without a terminal."""

    def run(*arguments: str, node: str = "", text: bool = True, stdin: str = "") -> Outcome:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NVR_")}
        paths = os.pathsep.join((str(REPOSITORY / "python"), environment.get("PYTHONPATH", "")))
        environment |= {"PYTHONPATH": paths, "COLUMNS": "100", "TZ": "UTC"}
        if node:
            environment["NVR_NODE"] = node
        done = subprocess.run(
            [sys.executable, "-m", "nvr", *arguments],
            cwd=tmp_path,
            env=environment,
            input=stdin.encode(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Outcome(
            done.returncode, done.stdout.decode("utf-8" if text else "latin-1"), done.stderr.decode()
        )

    return run
