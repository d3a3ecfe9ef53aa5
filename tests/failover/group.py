"""A group of real processes: two recorders, a spare one, two tiers of gateways over them, cameras."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nvr
from nvr.errors import CameraNotFound
from nvr.footage.time import to_datetime
from nvr.footage.types import Gap, Span
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.support.processes import ChildProcess, child, free_port, wait_for

SCENE = Scene(width=320, height=180, fps=10, duration_s=8, gop_s=1.0, bit_rate=150_000)
USER, PASSWORD = "operator", "geheim-4711"
RECORDERS = ("alpha", "beta", "spare")
GATEWAY, TOP = "gate-way", "top"
HOMES = {"north": "alpha", "south": "alpha", "east": "beta"}
"""The cameras, and whose each is."""


@dataclass
class Group:
    """Its nodes by name."""

    folder: Path
    grpc: dict[str, str] = field(default_factory=dict)
    processes: dict[str, ChildProcess] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    """What processes that have ended wrote."""

    def start(self, name: str) -> None:
        kind = "gateway" if name in (GATEWAY, TOP) else "recorder"
        settings = str(self.folder / f"{name}.toml")
        process = ChildProcess(["-m", "nvr", kind, "--config", settings, "--json"])
        self.processes[name] = process
        process.wait_line(lambda line: line.startswith("{"))

    def kill(self, name: str) -> None:
        """Ends a node's process with SIGKILL."""
        process = self.processes.pop(name)
        process.process.kill()
        process.stop()
        self.written += process.lines + process.errors

    def send(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send(number)

    def stop(self) -> None:
        for name, process in self.processes.items():
            process.send(signal.SIGCONT)
            process.stop()
            self.written += [f"{name}: {line}" for line in process.lines + process.errors]

    def leases(self) -> dict[str, dict[str, object]]:
        """What ``nvr leases list`` prints, by the camera's name."""
        found = self.nvr("leases", "list")
        return {str(each["name"]): each for each in found if each["type"] == "lease"}

    @contextmanager
    def events(self) -> Iterator[ChildProcess]:
        """``nvr events`` of the node at the top."""
        with child("-m", "nvr", "events", "--json", environment={"NVR_NODE": self.grpc[TOP]}) as watch:
            yield watch

    def nvr(self, *arguments: str) -> list[dict[str, object]]:
        """The JSON Lines that ``nvr … --json`` prints of the gateway."""
        process = ChildProcess(
            ["-m", "nvr", *arguments, "--json"], environment={"NVR_NODE": self.grpc[GATEWAY]}
        )
        process.wait()
        assert process.stop() == 0, process.errors
        return [json.loads(line) for line in process.lines]

    def camera_id(self, name: str) -> str:
        """As the node at the top knows it."""
        with nvr.connect(self.grpc[TOP]) as net:
            return net.camera(name).info().id

    def steady(self, **holders: str) -> None:
        """Waits until each camera is with its holder, and only there."""

        def reached() -> bool:
            leases = self.leases()
            return all(
                (leases[name]["state"], leases[name]["holder"], leases[name]["recorded_by"])
                == ("steady", holder, [holder])
                for name, holder in holders.items()
            )

        wait_for(reached, f"the leases are {holders}", within_s=120, every_s=0.5)

    def spans(self, node: str, camera: str, since_us: int = 0) -> list[Span]:
        """What a node has on disk of a camera, from an instant on."""
        with nvr.connect(self.grpc[node]) as net:
            try:
                main = next(iter(net.camera(camera).info().streams), None)
            except CameraNotFound:
                return []
            if main is None or main.oldest_us == 0 or main.newest_us <= since_us:
                return []
            start_us = max(since_us, main.oldest_us)
            items = net.camera(camera).coverage(to_datetime(start_us), to_datetime(main.newest_us))
            return [item for item in items if isinstance(item, Span)]

    def newest_us(self, node: str, camera: str) -> int:
        """End of what a node has on disk of a camera; 0: nothing."""
        spans = self.spans(node, camera)
        return spans[-1].range.end_us if spans else 0

    def gaps(self, camera: str, start_us: int, end_us: int) -> list[Gap]:
        """Of all nodes' footage together, as the gateway answers."""
        with nvr.connect(self.grpc[GATEWAY], partial="refuse") as net:
            coverage = net.camera(camera).coverage(to_datetime(start_us), to_datetime(end_us))
            assert coverage.complete
            return list(coverage.gaps)

    def wait_recorded(self, node: str, camera: str, until_us: int) -> int:
        """Waits until a node has footage on disk that reaches beyond an instant; where it ends then."""
        wait_for(
            lambda: self.newest_us(node, camera) > until_us,
            f"{node} has footage of {camera}",
            within_s=120,
            every_s=0.3,
        )
        return self.newest_us(node, camera)


@contextmanager
def group(folder: Path, *, give_back: bool = True) -> Iterator[Group]:
    """All of it: every camera recorded at home, and prepared where it may be needed."""
    file = generate(SCENE, folder / "scenes")
    made = Group(folder)
    with ExitStack() as stack:
        cameras = stack.enter_context(SimulatedCameras(user=USER, password=PASSWORD))
        for name in HOMES:
            cameras.add(name, file)
        for node in (*RECORDERS, GATEWAY, TOP):
            made.grpc[node] = f"127.0.0.1:{free_port()}"
            lines = ["[node]", f'name = "{node}"', f'grpc = "{made.grpc[node]}"']
            if node == GATEWAY:
                lines.append(f'data = "{folder / node}"')
                for child in RECORDERS:
                    lines += ["[[child]]", f'address = "{made.grpc[child]}"']
                lines += ["[[failover.group]]", 'name = "ward"', 'recorders = ["alpha", "beta"]']
                lines += ['standbys = ["spare"]', 'stable_after = "5s"']
                lines += [f"give_back = {str(give_back).lower()}"]
            elif node == TOP:
                lines += [f'data = "{folder / node}"', "[[child]]", f'address = "{made.grpc[GATEWAY]}"']
            else:
                lines.append(f'stores = ["{folder / node}"]')
                for name, home in HOMES.items():
                    if home == node:
                        lines += ["[[camera]]", f'name = "{name}"', f'main = "{cameras.url(name)}"']
            (folder / f"{node}.toml").write_text("\n".join(lines))
        stack.callback(made.stop)
        for node in (*RECORDERS, GATEWAY, TOP):
            made.start(node)

        def ready() -> bool:
            leases = made.leases()
            return leases.keys() == HOMES.keys() and all(
                lease["state"] == "steady" and "spare" in list(lease["standbys"])  # type: ignore[call-overload]
                for lease in leases.values()
            )

        wait_for(ready, "all cameras are recorded and prepared", within_s=120, every_s=0.5)
        for name, home in HOMES.items():
            made.wait_recorded(home, name, 1)
        yield made
