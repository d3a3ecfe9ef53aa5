"""Every example is taken by the check that its reader will run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "deploy" / "examples").glob("*.toml"))


def test_there_are_examples_for_each_size() -> None:
    names = {path.stem.partition("-")[0] for path in EXAMPLES}
    assert names == {"household", "commune", "ward", "province"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_good(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nvr", "config", "check", str(example)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ": good; " in done.stdout
