"""What the documents tell their reader to type does what they say."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.docs.running import ALL, Running, cases, run, that_run
from tests.support.documents import ROOT, Block, blocks, nvr_command
from tests.support.skips import needs_program


def nvr_program() -> list[str]:
    return [sys.executable, "-c", "from nvr.cli import main; main()"]


@cache
def help_of(called: tuple[str, ...]) -> tuple[int, str]:
    wide = os.environ | {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [*nvr_program(), *called, "--help"], env=wide, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("block", cases([block for block in ALL if block.language == "python"]))
def test_python_is_python(block: Block) -> None:
    compile(block.text, block.name, "exec")


@pytest.mark.parametrize("block", cases([block for block in ALL if block.language == "console"]))
def test_console_blocks_have_commands_that_exist(block: Block) -> None:
    assert block.commands, "a console block without a line that begins with '$ '"
    makefile = (ROOT / "Makefile").read_text()
    for command in block.commands:
        if target := re.match(r"make ([a-z-]+)", command):
            assert f"\n{target[1]}: " in makefile, command
        if call := nvr_command(command):
            called, options = call
            status, text = help_of(called)
            assert status == 0, f"{command}\n{text}"
            for option in options:
                known = text + help_of(())[1]
                assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known), f"{command}: no {option}"


@needs_program("openssl")
@pytest.mark.parametrize("block", that_run(""))
def test_blocks_that_run_anywhere(block: Block, tmp_path: Path) -> None:
    run(block, tmp_path, extra={}, replace={})


@pytest.mark.parametrize("block", that_run("config"))
def test_blocks_about_the_settings_file(block: Block, tmp_path: Path) -> None:
    # The page's first settings file; others come with what they are for.
    settings = next(
        other.text
        for other in blocks(block.page)
        if other.language == "toml" and other.text.startswith("[node]")
    )
    (tmp_path / "nvr.toml").write_text(settings.replace("/var/lib/nvr", str(tmp_path / "store")))
    run(block, tmp_path, extra={}, replace={})


@needs_program("ffmpeg")
@pytest.mark.parametrize("block", that_run("node"))
def test_blocks_beside_a_node(block: Block, running: Running, tmp_path: Path) -> None:
    run(
        block,
        tmp_path,
        extra={"NVR_NODE": running.address},
        replace={"localhost:7600": running.address},
    )
    written = [path for path in tmp_path.iterdir() if path.name != "block"]
    named = set(re.findall(r"[\w-]+\.(?:mp4|jpg|png|h264)\b", block.text))
    assert {path.name for path in written if path.stat().st_size > 0} >= named


@needs_program("ffmpeg")
@pytest.mark.parametrize("block", that_run("stopped"))
def test_blocks_on_the_store_of_a_stopped_node(block: Block, stopped: Running, tmp_path: Path) -> None:
    run(block, tmp_path, extra={}, replace={"/var/lib/nvr": str(stopped.store)})


SURROUNDINGS = {"", "config", "node", "stopped", "serve", "terminal", "group", "players", "tls"} | {
    "catalog",
    "catalog_stopped",
    "postgresql",
}
# What the tests are run by, or cannot do to the machine that runs them.
NOT_RUN = {"make demo", "make test", "make venv", "make fmt", "pip install .", "nvr --version"} | {
    "pip install '.[postgresql]'",
    # The first of them is a part of `make test`.
    "scripts/fuzz.sh 10",
    "scripts/fuzz.sh 3600 segment copy",
    "NVR_HISTORY=7:60 pytest tests/network/test_partitions.py",
    "NVR_SIM_SEED=7 cargo test -p nvr-core --lib bad_days -- --nocapture",
    # These ask cameras: tests/onvif and tests/sources run them with some.
    "nvr cameras add pier --main http://admin@10.0.0.9/live.m3u8 --ask-password",
    "nvr cameras discover",
    "nvr cameras discover --user admin --ask-password",
    "nvr cameras discover 10.0.0.0/24 10.0.7.9:8080 --user admin --ask-password --json",
    "nvr cameras discover --user admin --ask-password --add --dry-run",
    'nvr cameras discover --user admin --ask-password --add --name "gate-{number}" --area 38-381 '
    "--only 10.0.0.7",
}


def test_every_console_block_is_run() -> None:
    assert {block.where for block in ALL if block.where is not None} <= SURROUNDINGS
    left = [block for block in ALL if block.language == "console" and block.where is None]
    assert {command for block in left for command in block.commands} == NOT_RUN, [each.name for each in left]


@pytest.mark.parametrize("block", cases([block for block in ALL if block.language == "toml"]))
def test_settings_are_good(block: Block, tmp_path: Path) -> None:
    """Also those of which only a part is shown."""
    # What stands for a node's id.
    text = re.sub(r'"(?:[0-9a-f]{4})?…[^"]*"', f'"{"ab" * 32}"', block.text)
    if "[node]" not in text:
        part = r"\[\[?(child|failover|query|catalog)"
        kept = "data" if re.search(part, text) else "stores"
        folder = f'"{tmp_path}"' if kept == "data" else f'["{tmp_path}"]'
        children = '[[child]]\naddress = "10.0.0.11:7600"\n' if kept == "data" else ""
        tls = ""
        if "uplink" in text:
            names = ("cert", "key", "client_ca")
            tls = "[tls]\n" + "".join(f'{name} = "/etc/nvr/{name}.pem"\n' for name in names)
        text = f'[node]\nname = "station-1"\n{kept} = {folder}\n{tls}{children}{text}'
    (tmp_path / "nvr.toml").write_text(text)
    done = subprocess.run(
        [*nvr_program(), "config", "check", str(tmp_path / "nvr.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


PAGE = """
<!-- run: node -->
```console
$ nvr clip gate -5m \\
    +60s --output x.mp4 | cat --none
output
$ make test
```

<!-- run -->

text
```python
x = 1
```
<!-- run -->
````console
```
````
"""


def test_blocks_are_found_with_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = list(blocks(page))
    assert [(block.language, block.where, block.line) for block in found] == [
        ("console", "node", 3),
        ("python", None, 13),
        ("console", "", 17),
    ]
    assert found[2].text == "```\n"
    assert found[0].commands == ["nvr clip gate -5m      +60s --output x.mp4 | cat --none", "make test"]
    assert nvr_command(found[0].commands[0]) == (("clip", "gate"), ["--output"])
    assert nvr_command("make test") is None
    assert nvr_command("nvr --version") == ((), ["--version"])
