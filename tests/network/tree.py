"""A small tree of real processes: province, district, two recorders (one in the district's process)."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nvr
from nvr.footage.types import StreamState
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.support.processes import ChildProcess, free_port, wait_for

SCENE = Scene(width=320, height=180, fps=10, duration_s=8, gop_s=1.0, bit_rate=150_000)
PLACES = {"commune-1": (19.9275, 105.8571), "commune-2": (19.9300, 105.8600)}
"""Their cameras are about 400 m apart."""
LOOKS = """title = "Cổng chợ"
height_m = 4.5
direction_deg = 45
angle_deg = 90
reach_m = 120
area = "38-381"
owner = "household"
"""


@dataclass
class Network:
    """Its nodes by name."""

    folder: Path
    cameras: SimulatedCameras
    grpc: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    rtsp: dict[str, str | None] = field(default_factory=dict)
    processes: dict[str, ChildProcess] = field(default_factory=dict)

    def settings(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    def data(self, name: str) -> Path:
        """The folder with a node's audit record."""
        return self.folder / name / ".node" if name.startswith("commune") else self.folder / name

    def address_of(self, name: str) -> None:
        self.grpc[name] = f"127.0.0.1:{free_port()}"
        self.metrics[name] = f"127.0.0.1:{free_port()}"

    def node(self, name: str) -> str:
        return f'[node]\nname = "{name}"\ngrpc = "{self.grpc[name]}"\nmetrics = "{self.metrics[name]}"\n'

    def write_recorder(self, name: str, cameras: dict[str, str]) -> None:
        self.address_of(name)
        text = self.node(name) + f'stores = ["{self.folder / name}"]\n[rtsp]\nlisten = "127.0.0.1:0"\n'
        for camera, url in cameras.items():
            lat, lon = PLACES[name]
            text += f'[[camera]]\nname = "{camera}"\nmain = "{url}"\nlat = {lat}\nlon = {lon}\n{LOOKS}'
        self.settings(name).write_text(text)

    def write_gateway(self, name: str, children: list[str], *, more: str = "") -> None:
        self.address_of(name)
        text = self.node(name) + f'data = "{self.folder / name}"\n' + more
        text += '[rtsp]\nlisten = "127.0.0.1:0"\n'
        text += "".join(f'[[child]]\naddress = "{self.grpc[child]}"\n' for child in children)
        self.settings(name).write_text(text)

    def start(self, *names: str) -> None:
        """One process for these nodes."""
        if len(names) == 1:
            kind = "recorder" if names[0].startswith("commune") else "gateway"
            command = [kind, "--config", str(self.settings(names[0]))]
        else:
            command = ["up", *(str(self.settings(name)) for name in names)]
        process = ChildProcess(["-m", "nvr", *command, "--json", "--log-level", "debug"])
        self.processes |= dict.fromkeys(names, process)
        line = process.wait_line(lambda line: line.startswith("{") and json.loads(line)["name"] == names[-1])
        self.rtsp[names[-1]] = json.loads(line)["rtsp"]

    def kill(self, name: str) -> None:
        """Ends a node's process with SIGKILL."""
        process = self.processes.pop(name)
        process.process.kill()
        process.stop()

    def audit(self, name: str) -> list[dict[str, Any]]:
        text = (self.data(name) / "audit.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


def recorded(net: nvr.Network, cameras: int) -> bool:
    """Whether so many cameras are recorded now, and some seconds of each are there."""
    mains = [camera.streams[0] for camera in net.cameras() if camera.streams]
    return len(mains) == cameras and all(
        main.state is StreamState.RECORDING
        and main.oldest_us > 0
        and main.newest_us - main.oldest_us > 4_000_000
        for main in mains
    )


@contextmanager
def network(folder: Path, *, root: str = "") -> Iterator[Network]:
    """All of it, with some seconds of footage, and both cameras recorded. ``root``: more for the province."""
    file = generate(SCENE, folder / "scenes")
    with ExitStack() as stack:
        cameras = stack.enter_context(SimulatedCameras())
        made = Network(folder, cameras)
        for name in ("gate", "yard"):
            cameras.add(name, file)
        made.write_recorder("commune-1", {"gate": cameras.url("gate")})
        made.write_recorder("commune-2", {"yard": cameras.url("yard")})
        made.write_gateway("district", ["commune-1", "commune-2"])
        made.write_gateway("province", ["district"], more=root)

        def stop() -> None:
            for process in dict.fromkeys(made.processes.values()):
                process.stop()

        stack.callback(stop)
        made.start("commune-2")
        made.start("commune-1", "district")
        made.start("province")
        with nvr.connect(made.grpc["province"]) as net:
            wait_for(lambda: recorded(net, 2), "both cameras are recorded for some seconds", every_s=0.2)
        yield made
