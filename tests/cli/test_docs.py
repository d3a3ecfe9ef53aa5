"""The documents say what the code does."""

import re

import pytest

from nvr.cli.app import COMMANDS
from nvr.cli.exit_codes import ExitCode, code_of
from nvr.errors import NvrError
from scripts.generate_cli_docs import DOCUMENT, generated
from tests.cli.conftest import Run


def test_the_reference_is_what_the_commands_say() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert generated(text) == text, "run scripts/generate_cli_docs.py"


def test_every_error_has_an_exit_code() -> None:
    def all_below(kind: type[NvrError]) -> list[type[NvrError]]:
        return [kind, *(each for below in kind.__subclasses__() for each in all_below(below))]

    codes = {kind.__name__: code_of(kind("x")) for kind in all_below(NvrError)}
    assert codes["CameraNotFound"] is ExitCode.NOT_FOUND
    assert codes["Unauthenticated"] is ExitCode.DENIED
    assert codes["DeadlineExceeded"] is ExitCode.UNAVAILABLE
    assert codes["ConfigError"] is ExitCode.USAGE
    assert codes["CatalogAway"] is ExitCode.UNAVAILABLE
    assert {codes[name] for name in ("CatalogBehind", "CatalogConflict", "CatalogNotRoot")} == {
        ExitCode.REFUSED
    }
    assert all(code is not ExitCode.OK for code in codes.values())
    assert code_of(KeyboardInterrupt()) is ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    "name", [name for name, lazy in COMMANDS.items() if lazy.module.startswith("nvr.cli.")]
)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = COMMANDS[name].load(name)
    assert (command.help or "").splitlines()[0] == COMMANDS[name].help


def test_help_loads_no_more_than_it_shows(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for name, lazy in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(lazy.help[:20])}", outcome.out, re.MULTILINE)


def test_help_is_quick_because_it_imports_little() -> None:
    import subprocess
    import sys

    from tests.support.processes import REPOSITORY

    code = (
        "import sys; sys.argv = ['nvr', '--help']\nfrom nvr.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = ('rich', 'grpc', 'av', 'numpy', 'pydantic', 'nvr.client', 'nvr._core')\n"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
