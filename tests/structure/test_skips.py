"""A skip is listed with the command that mends it, and fails where CI says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import needs_program

ROOT = Path(__file__).parents[2]

SKIPPING = """
import pytest
from tests.support.skips import needs_program

@needs_program("no-such-program")
def test_one() -> None: ...

@pytest.mark.parametrize("n", [1, 2])
def test_others(n: int) -> None:
    pytest.skip("another cause")

@pytest.mark.xfail(reason="known", strict=False)
def test_expected_failure() -> None:
    assert False

def test_runs() -> None: ...
"""


def run_pytest(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(source)
    return subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-p", "tests.support.skips", "-p", "no:cacheprovider"],
            *["-c", "/dev/null", "--rootdir", str(folder), str(folder)],
        ],
        cwd=ROOT,
        env=os.environ | {"CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_skips_are_listed_with_reasons_and_command(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPPING, ci="")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "1  not on this machine: no-such-program" in done.stdout
    assert "2  another cause" in done.stdout
    assert "3 tests were skipped" in done.stdout
    assert "make test-deps" in done.stdout


def test_a_skip_fails_in_ci(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SKIPPING, ci="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "CI=true: a skipped test is a failure" in done.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.xfail\ndef test_x() -> None:\n    assert False\n"
    done = run_pytest(tmp_path, source, ci="true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "skipped" not in done.stdout


def test_nothing_is_said_where_nothing_was_skipped(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test_x() -> None: ...\n", ci="true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "skipped" not in done.stdout


def test_a_program_that_is_there_does_not_skip() -> None:
    assert needs_program("sh").args == (False,)
