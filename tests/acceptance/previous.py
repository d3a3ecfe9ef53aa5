"""Trees of which one node is built from the previous release; each node is a process of its own."""

import json
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import nvr
from tests.acceptance.world import RecordedCamera, Run, World
from tests.support.processes import REPOSITORY, ChildProcess, wait_for

Version = Literal["old", "new"]

CHAINS = ("old", "old.new", "new.old", "new.old.new", "new.new.old")
"""From the recorder upwards: who is of which version."""

GATEWAYS = ("district", "province")
"""Names from the recorder upwards."""


@cache
def previous_tree() -> Path:
    """The previous release, built."""
    done = subprocess.run(
        [REPOSITORY / "scripts" / "build_previous.sh"], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(done.stdout.strip())


def environment(version: Version) -> dict[str, str]:
    """With which a process is of a version."""
    root = previous_tree() if version == "old" else REPOSITORY
    return {"PYTHONPATH": f"{root / 'python'}:{root}"}


@dataclass(frozen=True)
class Node:
    process: ChildProcess
    address: str
    told: dict[str, Any]
    """What it said when it was ready."""


class Chains:
    """Recorders and the gateways above them, started when they are first asked for, and kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nodes: dict[str, Node] = {}
        self._closing = ExitStack()

    def close(self) -> None:
        self._closing.close()

    def world(self, chain: str) -> World:
        """What the recorder at the bottom has."""
        told = self.node(chain.partition(".")[0]).told
        cameras = {name: _camera(told["world"][name]) for name in ("gate", "yard")}
        world = told["world"]
        return World(world["node"], told["node_id"], **cameras, pictures_decode=world["pictures_decode"])

    def node(self, chain: str) -> Node:
        """The uppermost of a chain."""
        if chain not in self._nodes:
            lower, _, version = chain.rpartition(".")
            assert version in ("old", "new")
            folder = self._folder / chain
            folder.mkdir()
            start = self._gateway if lower else self._recorder
            self._nodes[chain] = start(chain, "old" if version == "old" else "new", folder)
        return self._nodes[chain]

    def _start(self, version: Version, *arguments: str) -> tuple[ChildProcess, dict[str, Any]]:
        process = ChildProcess(arguments, environment=environment(version))
        self._closing.callback(process.stop)
        return process, json.loads(process.wait_line(lambda line: line.startswith("{")))

    def _recorder(self, _chain: str, version: Version, folder: Path) -> Node:
        script = REPOSITORY / "tests" / "acceptance" / "serve_world.py"
        process, told = self._start(version, str(script), str(folder))
        return Node(process, told["address"], told)

    def _gateway(self, chain: str, version: Version, folder: Path) -> Node:
        lower = self.node(chain.rpartition(".")[0])
        name = GATEWAYS[chain.count(".") - 1]
        settings = folder / "nvr.toml"
        settings.write_text(
            f'[node]\nname = "{name}"\ndata = "{folder / "data"}"\ngrpc = "127.0.0.1:0"\n'
            f'[[child]]\naddress = "{lower.address}"\n'
        )
        process, told = self._start(version, "-m", "nvr", "gateway", "--config", str(settings), "--json")
        with nvr.connect(told["grpc"]) as net:
            wait_for(lambda: len(net.cameras()) == 2, f"{name} knows both cameras", every_s=0.1)
        return Node(process, told["grpc"], told)


def _camera(told: dict[str, Any]) -> RecordedCamera:
    runs = tuple(Run(tuple(run["frames_us"]), run["end_us"]) for run in told["runs"])
    return RecordedCamera(told["id"], told["name"], runs, told["gap_reason"])
