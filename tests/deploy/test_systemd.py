"""The units start what there is, and let it have no more than it needs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY
from tests.support.skips import needs_program

UNITS = sorted((REPOSITORY / "deploy" / "systemd").glob("*.service"))


def test_there_is_one_for_each_kind_of_node() -> None:
    assert [unit.name for unit in UNITS] == ["nvr-gateway.service", "nvr-recorder.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_a_unit_starts_what_there_is(unit: Path) -> None:
    commands = re.findall(r"^Exec\w+=/opt/nvr/bin/nvr (.*)$", unit.read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = [word for word in shlex.split(command) if not word.startswith("/")]
        path = [word for word in words if not word.startswith("-")]
        done = subprocess.run(
            [sys.executable, "-m", "nvr", *path, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        for option in words:
            assert option in path or option in done.stdout


@needs_program("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_systemd_understands_a_unit(unit: Path, tmp_path: Path) -> None:
    program = tmp_path / "nvr"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/nvr/bin/nvr", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
