"""``nvr cameras discover``, with a recorder and an independent camera."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.onvif.conftest import PASSWORD, USER, Ipycam
from tests.onvif.models import MODELS, serving
from tests.recorder.running import Node, running, write_settings
from tests.support.processes import wait_for


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running(write_settings(tmp_path, {})) as started:
        yield started


class Command:
    """Runs ``nvr``."""

    def __init__(self, node: str) -> None:
        self.node = node

    def __call__(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "NVR_NODE": self.node, "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-m", "nvr", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def records(self, *arguments: str, stdin: str = "") -> list[dict[str, Any]]:
        done = self(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def nvr(node: Node) -> Command:
    return Command(node.grpc)


def login(*more: str) -> list[str]:
    return ["--user", USER, "--ask-password", *more]


def test_found_added_and_recorded(ipycam: Ipycam, nvr: Command, node: Node) -> None:
    where = f"127.0.0.1:{ipycam.port}"
    discover = ["cameras", "discover", where, "--wait", "200ms", *login()]
    (device,) = nvr.records(*discover, stdin=f"{PASSWORD}\n")
    assert (device["model"], device["trouble"]) == ("Virtual", "")
    (channel,) = device["channels"]
    assert channel["registered"] == ""
    assert channel["main"]["stream_url"] == f"rtsp://127.0.0.1:{ipycam.cameras.port}/gate/main"

    add = [*discover, "--add", "--name", "{model}-{number}", "--owner", "state"]
    _, would = nvr.records(*add, "--dry-run", stdin=f"{PASSWORD}\n")
    assert would == {"type": "added", "name": "virtual-1", "address": "127.0.0.1", "dry_run": True}
    assert nvr.records("cameras", "list")[:-1] == []

    # Somebody who is asked, and says no.
    done = nvr(*add, stdin=f"{PASSWORD}\nn\n")
    assert done.returncode == 130
    assert nvr.records("cameras", "list")[:-1] == []

    done = nvr(*add, stdin=f"{PASSWORD}\ny\n")
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "virtual-1: added" in done.stdout
    assert "undo: nvr cameras remove virtual-1" in done.stderr

    def recording() -> bool:
        camera = nvr.records("cameras", "list")[0]
        return [stream["state"] for stream in camera["streams"]] == ["recording"] * 2

    # Both streams, with the login that was given.
    wait_for(recording, "recording")
    camera = nvr.records("cameras", "list")[0]
    assert (camera["title"], camera["owner"]) == ("ipycam Virtual", "state")

    (device,) = nvr.records(*discover, stdin=f"{PASSWORD}\n")
    assert device["channels"][0]["registered"] == "virtual-1"
    done = nvr(*add, "--yes", stdin=f"{PASSWORD}\n")
    assert (done.returncode, "nothing to add" in done.stderr) == (0, True)
    assert "registered as virtual-1" in done.stdout


def test_all_channels_of_a_recorder(nvr: Command) -> None:
    with serving(MODELS["dahua"]()) as port:
        from tests.onvif.models import PASSWORD as OTHER

        arguments = ["cameras", "discover", f"127.0.0.1:{port}", "--wait", "100ms", *login("--add", "--yes")]
        found = nvr.records(*arguments, stdin=f"{OTHER}\n")
    assert [each["name"] for each in found[1:]] == ["cam-127-0-0-1-1", "cam-127-0-0-1-2"]
    done = nvr("cameras", "list")
    assert OTHER not in done.stdout
    # A name that is there is told before anything is added.
    other = MODELS["xm"]()
    other.answers = {name: text.replace(":554/", ":5554/") for name, text in other.answers.items()}
    with serving(other) as port:
        arguments = ["cameras", "discover", f"127.0.0.1:{port}", "--wait", "100ms", "--add", "--yes"]
        done = nvr(*arguments, "--name", "cam-127-0-0-1-1")
    assert done.returncode != 0
    assert "cam-127-0-0-1-1 exists already" in done.stderr


def test_a_password_in_the_path_is_not_shown(nvr: Command) -> None:
    with serving(MODELS["xm"]()) as port:
        done = nvr("cameras", "discover", f"127.0.0.1:{port}", "--wait", "100ms", "--json")
    assert "tlJwpbo6" not in done.stdout + done.stderr
    assert "password=***" in done.stdout


def test_a_node_that_is_away_only_leaves_marks_out() -> None:
    with serving(MODELS["hikvision"]()) as port:
        done = Command("127.0.0.1:1")("cameras", "discover", f"127.0.0.1:{port}", "--wait", "100ms")
    assert done.returncode == 0, done.stderr
    assert "which are registered is not known" in done.stderr
    assert "login_needed" in done.stdout
    assert "1 h ahead" in done.stdout or "59 min" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["10.0.0.0/8"], "name a smaller network"),
        (["--dry-run"], "go with --add"),
        (["--add", "--json"], "say --yes, or --dry-run"),
        (["--name", "{password}", "--add"], "the pattern knows"),
        (["--ask-password"], "--ask-password needs --user"),
        (["--wait", "10m"], "at most 1m"),
    ],
)
def test_wrong_options(arguments: list[str], said: str) -> None:
    done = Command("127.0.0.1:1")("cameras", "discover", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
