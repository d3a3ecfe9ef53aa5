"""What the documents tell their reader to type does what they say."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import nvr
from benches import node, recipe
from benches.harness import wait_until
from benches.simulator import simulated_cameras
from tests.support.documents import ROOT, Block, blocks, nvr_command, pages
from tests.support.skips import needs_program

ALL = [block for page in pages() for block in blocks(page)]
CAMERA = "market-gate"
# Where the README's settings say that it stands.
PLACE = (19.9275, 105.8571)
# The examples look back so far.
RECORDED_S = 12


def cases(blocks_: list[Block]) -> list[object]:
    return [pytest.param(block, id=block.name) for block in blocks_]


def that_run(where: str) -> list[object]:
    found = cases([block for block in ALL if block.where == where])
    assert found, f"no block is marked <!-- run: {where} -->"
    return found


def nvr_program() -> list[str]:
    return [sys.executable, "-c", "from nvr.cli import main; main()"]


@cache
def help_of(called: tuple[str, ...]) -> tuple[int, str]:
    wide = os.environ | {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [*nvr_program(), *called, "--help"], env=wide, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def run(block: Block, folder: Path, *, extra: dict[str, str], replace: Mapping[str, str]) -> None:
    """Runs a block as a reader would: in one shell, in a folder, with the venv's programs."""
    text = block.text if block.language == "python" else "\n".join(block.commands) + "\n"
    for old, new in replace.items():
        text = text.replace(old, new)
    script = folder / "block"
    script.write_text(text)
    program = [sys.executable] if block.language == "python" else ["bash", "-euo", "pipefail"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*program, str(script)],
        cwd=folder,
        env=os.environ | {"PATH": path} | extra,
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


@pytest.fixture(scope="module")
def camera_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    work = tmp_path_factory.mktemp("camera")
    with simulated_cameras(recipe.make(work, 20), 1, work) as cameras:
        (url,) = cameras.addresses.values()
        yield url


def recorded(url: str, work: Path) -> Iterator[Running]:
    store = work / "store"
    with node.recorder(store, {CAMERA: url}, work) as started:
        wait_until(lambda: node.recording(started.address) == 1, "the camera is recorded")
        with nvr.connect(started.address) as net:
            net.camera(CAMERA).update(place=PLACE)
        oldest = time.time_ns() // 1000
        wait_until(
            lambda: node.newest_us(started.address) > oldest + RECORDED_S * 1_000_000, "there is footage"
        )
        yield Running(started.address, store)


@pytest.fixture(scope="module")
def running(camera_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from recorded(camera_url, tmp_path_factory.mktemp("running"))


@pytest.fixture
def stopped(camera_url: str, tmp_path: Path) -> Running:
    (tmp_path / "node").mkdir()
    (found,) = recorded(camera_url, tmp_path / "node")
    return found


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


def test_every_marked_block_is_run() -> None:
    assert {block.where for block in ALL if block.where is not None} <= {"", "config", "node", "stopped"}


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
