"""Writes the command reference and the exit codes into ``docs/cli.md``; ``--check`` only compares.

What stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is made from the code.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[1] / "docs" / "cli.md"
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def exit_codes() -> str:
    """The table of exit codes."""
    from nvr.cli.exit_codes import ExitCode

    rows = [f"| {int(code)} | `{code.name}` | {code.meaning} |" for code in ExitCode]
    return "\n".join(["| code | name | meaning |", "| --- | --- | --- |", *rows])


def commands() -> str:
    """The help of each command, as it prints it."""
    from nvr.cli.app import COMMANDS

    blocks = []
    for name, lazy in COMMANDS.items():
        command = lazy.load(name)
        nested = getattr(command, "commands", None)
        for path, each in (
            [(f"{name} {sub}", found) for sub, found in nested.items()] if nested else [(name, command)]
        ):
            blocks.append(f"### nvr {path}\n\n```text\n{_help(each, f'nvr {path}')}\n```")
    return "\n\n".join(blocks)


def _help(command: Any, path: str) -> str:
    context = command.make_context(
        path, [], resilient_parsing=True, terminal_width=100, max_content_width=100
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def generated(text: str) -> str:
    """The document with its generated parts as they should be."""
    made = {"exit-codes": exit_codes, "commands": commands}
    return _BLOCK.sub(lambda block: f"{block[1]}{made[block[2]]()}\n{block[3]}", text)


def main() -> int:
    """Writes or compares."""
    os.environ.setdefault("COLUMNS", "100")
    before = DOCUMENT.read_text(encoding="utf-8")
    after = generated(before)
    if "--check" in sys.argv:
        if before != after:
            print("docs/cli.md is not what the code says: run scripts/generate_cli_docs.py", file=sys.stderr)
        return int(before != after)
    DOCUMENT.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
