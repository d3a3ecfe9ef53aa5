"""A root of the network catalog and a recorder below it, in a process of their own."""

import json
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import nvr
from nvr.cli.app import build
from tests.cli.conftest import Outcome
from tests.support.processes import ChildProcess, free_port, wait_for

CAMERAS = {
    "gate": 'title = "Cổng chợ"\nlat = 19.9275\nlon = 105.8571\narea = "14815"\nowner = "state"\n',
    "yard": 'area = "elsewhere"\n',
}


@dataclass
class Root:
    """``recorder``: address of the node below it."""

    folder: Path
    address: str
    recorder: str
    config_name: str
    process: ChildProcess | None = None

    @property
    def config(self) -> Path:
        return self.folder / self.config_name

    @property
    def data(self) -> Path:
        return self.folder / "root"

    @property
    def database(self) -> Path:
        return self.data / "network-catalog.sqlite"

    def __call__(self, *arguments: str, at: str = "", stdin: str = "") -> Outcome:
        """``nvr …`` at the root or at another node; in this process, since there are many."""
        environment = {"NVR_NODE": at or self.address, "COLUMNS": "100", "TZ": "UTC"}
        with chdir(self.folder):
            done = CliRunner().invoke(build(), arguments, env=environment, input=stdin)
        return Outcome(done.exit_code, done.stdout, done.stderr)

    def good(self, *arguments: str, at: str = "") -> Outcome:
        done = self(*arguments, at=at)
        assert done.code == 0, (done.err, self.process and self.process.errors[-40:])
        return done

    def records(self, *arguments: str, at: str = "") -> list[dict[str, Any]]:
        return self.good(*arguments, "--json", at=at).records

    def version(self) -> int:
        return int(self.records("catalog", "status")[0]["version"])

    def start(self) -> None:
        configs = (str(self.folder / "recorder.toml"), str(self.config))
        self.process = ChildProcess(["-m", "nvr", "up", *configs, "--json"])
        self.process.wait_line(lambda line: line.startswith("{") and json.loads(line)["grpc"] == self.address)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None


NODE = """
[node]
name = "root"
data = "/var/lib/nvr"
grpc = "127.0.0.1:7600"
[[child]]
address = "10.0.0.11:7600"
"""
CATALOG = """
[catalog]
database = "sqlite"
"""


@contextmanager
def root_of_a_catalog(
    folder: Path, *, settings: str = CATALOG, config_name: str = "root.toml"
) -> Iterator[Root]:
    """Running, with an empty catalog; the recorder's cameras are disabled: no footage is needed.

    ``settings``: of the root, or a part of them; its data, address and child become others.
    """
    made = Root(folder, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", config_name)
    cameras = "".join(
        f'[[camera]]\nname = "{name}"\nmain = "rtsp://127.0.0.1:9/{name}"\nenabled = false\n{more}'
        for name, more in CAMERAS.items()
    )
    (folder / "recorder.toml").write_text(
        f'[node]\nname = "commune-1"\nstores = ["{folder / "store"}"]\ngrpc = "{made.recorder}"\n{cameras}'
    )
    if "[node]" not in settings:
        settings = NODE + settings
    made.config.write_text(
        settings.replace("/var/lib/nvr", str(made.data))
        .replace("127.0.0.1:7600", made.address)
        .replace("10.0.0.11:7600", made.recorder)
    )
    made.start()
    try:
        with nvr.connect(made.address) as net:
            wait_for(lambda: len(net.cameras()) == len(CAMERAS), "the recorder is below", every_s=0.1)
        yield made
    finally:
        made.stop()
