"""A small province on one machine, for the demo, and a tour of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from nvr.cli.children import NvrChild
from nvr.errors import NodeUnavailable
from nvr.footage.types import Gap, Span

if TYPE_CHECKING:
    from nvr.client import Network

T = TypeVar("T")
_READY_WAIT_S = 60.0
_TREE_WAIT_S = 60.0
_TURN_S = 0.25
# Crossings of Sầm Sơn, some hundred metres from one another.
_PLACES = ((19.7402, 105.9021), (19.7421, 105.9034), (19.7437, 105.9010), (19.7450, 105.9048))
_CENTER, _RADIUS = (19.7425, 105.9028), "600m"
# One recorder keeps a copy of another's footage.
_COPIED_FROM, _COPIES_AT = "commune-1", "commune-2"
_TITLES = ("Ngã tư Lê Lợi", "Cổng chợ Cột Đỏ", "Bến xe", "Quảng trường biển")


class Province:
    """``with Province(folder, cameras) as province``: within, all of it runs."""

    def __init__(self, folder: Path, cameras: Sequence[tuple[str, str]]) -> None:
        """``cameras``: addresses of main and sub-stream; each gets a recorder."""
        self._folder = folder
        self._cameras = cameras
        self._children: dict[str, NvrChild] = {}
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def connect(self) -> Network:
        """A connection to the province, to be used in a with block."""
        from nvr.client import connect

        return connect(self._addresses["province"], purpose="demo")

    def check(self) -> None:
        """Raises :exc:`nvr.errors.NodeUnavailable` when a node has ended."""
        for child in self._children.values():
            child.check()

    def tour(self, network: Network, name: str, start_us: int, seconds: int, out: Path) -> None:
        """Shows what the tree does: one question, a clip from each tier, a node killed and back."""
        from nvr.client import connect
        from nvr.footage.time import to_datetime

        start, end = to_datetime(start_us), to_datetime(start_us + seconds * 1_000_000)
        print(f"\nOne question to the province: what is there within {_RADIUS}?", flush=True)
        self._ask(network, start_us, seconds)

        print(f"\nThe same {seconds} s of {name} from each tier:", flush=True)
        recorder = network.camera(name).info().node
        sizes = set()
        for tier in ("province", self._district_of(recorder), recorder):
            with connect(self._addresses[tier], purpose="demo") as net:
                path = out / f"{name}-from-{tier}.mp4"
                report = net.camera(name).clip(start, end).save(path, overwrite=True)
            sizes.add(path.read_bytes())
            print(f"  {tier:12} {report.parts[0].size_bytes} bytes, etag {report.parts[0].etag[:16]}…")
        print("  the same bytes" if len(sizes) == 1 else "  they differ: this is a defect", flush=True)

        lost = _COPIES_AT if _COPIES_AT in self._standbys() else self._recorders()[-1]
        if lost == _COPIES_AT:
            self._copied(network, start_us, seconds)
        print(f"\n{lost} is killed. The same question:", flush=True)
        killed_us = time.time_ns() // 1000
        self._children.pop(lost).kill()
        self._until(network, start_us, seconds, complete=False)
        self._ask(network, start_us, seconds)
        if lost in self._standbys():
            self._taken_over(network, lost, killed_us)

        print(f"\n{lost} is started again. The first question once more:", flush=True)
        self._run(lost, "recorder")
        back_us = time.time_ns() // 1000
        self._until(network, start_us, seconds, complete=True)
        self._ask(network, start_us, seconds)
        if lost == _COPIES_AT:
            self._filled(network, killed_us, back_us)

    def _taken_over(self, network: Network, lost: str, killed_us: int) -> None:
        """Waits until another recorder has gone on with the cameras of one that was killed."""
        from nvr.footage.time import to_datetime

        camera = self._camera_of(lost)

        def recorded_elsewhere() -> Span | None:
            start, end = to_datetime(killed_us), to_datetime(time.time_ns() // 1000)
            (found,) = network.find(cameras=[camera], start=start, end=end).all()
            return next((span for span in found.spans if span.node != lost), None)

        span = self._wait(recorded_elsewhere, f"no node goes on with {camera}")
        after_s = max(0, span.range.start_us - killed_us) / 1_000_000
        print(f"\n{span.node} has taken over {camera}: recorded again {after_s:.1f} s after the death")

    def _copied(self, network: Network, start_us: int, seconds: int) -> None:
        """Waits until the province knows of a copy of these seconds, and so can miss it."""
        from nvr.footage.time import to_datetime

        camera, start = self._camera_of(_COPIED_FROM), to_datetime(start_us)

        def known() -> bool:
            found = network.find(cameras=[camera], start=start, duration=f"{seconds}s", by_source=True).all()
            return len(found) == 2 and all(one.spans for one in found)

        self._wait(known, f"{_COPIES_AT} has no copy of {camera}")

    def _filled(self, network: Network, from_us: int, until_us: int) -> None:
        """Waits until a copy has what was recorded while its holder was dead."""
        from nvr.footage.time import to_datetime

        camera = network.camera(self._camera_of(_COPIED_FROM), source=_COPIES_AT)

        def filled() -> bool:
            start, end = to_datetime(from_us), to_datetime(until_us)
            held = camera.coverage(start, end)
            return not any(isinstance(item, Gap) and item.reason == "not_copied" for item in held)

        self._wait(filled, f"{_COPIES_AT} does not fill its copy")
        seconds = (until_us - from_us) / 1_000_000
        print(f"\n{_COPIES_AT} keeps a copy of {camera.name}, and has fetched the {seconds:.0f} s it missed")

    def _ask(self, network: Network, start_us: int, seconds: int) -> None:
        from nvr.footage.time import format_duration, to_datetime

        answer = network.find(
            near=_CENTER, radius=_RADIUS, start=to_datetime(start_us), duration=f"{seconds}s"
        )
        for found in answer:
            recorded = format_duration(sum(span.range.duration_us for span in found.spans))
            what = recorded if found.coverage else "unknown"
            far = f"{found.distance_m or 0:.0f} m"
            print(f"  {found.camera.name:10} {found.camera.node:10} {far:>6}  {what:8} {found.camera.title}")
        for warning in answer.warnings:
            print(f"  warning: {warning.code}: node {warning.node}, {warning.cameras or 1} camera(s)")
        print(f"  {'complete' if answer.complete else 'NOT complete'}", flush=True)

    def _until(self, network: Network, start_us: int, seconds: int, *, complete: bool) -> None:
        """Until the province has noticed."""
        from nvr.footage.time import to_datetime

        def noticed() -> bool:
            answer = network.find(start=to_datetime(start_us), duration=f"{seconds}s")
            found = answer.all()
            return bool(answer.complete) is complete and len(found) == len(self._cameras)

        self._wait(noticed, "the province does not see what its nodes do")

    def _wait(self, look: Callable[[], T | None], otherwise: str) -> T:
        """What a look finds that finds something. Raises :exc:`nvr.errors.NodeUnavailable`."""
        give_up_s = time.monotonic() + _TREE_WAIT_S
        while not (found := look()):
            self.check()
            if time.monotonic() > give_up_s:
                raise NodeUnavailable(otherwise)
            time.sleep(_TURN_S)
        return found

    def _recorders(self) -> list[str]:
        return [f"commune-{number}" for number in range(1, len(self._cameras) + 1)]

    def _districts(self) -> dict[str, list[str]]:
        """Which recorders each district has."""
        recorders = self._recorders()
        half = -(-len(recorders) // 2)
        return {"district-1": recorders[:half], "district-2": recorders[half:]}

    def _standbys(self) -> list[str]:
        """Recorders that stand by for one another."""
        recorders = self._districts()["district-1"]
        return recorders if len(recorders) > 1 else []

    def _camera_of(self, recorder: str) -> str:
        return f"camera-{recorder.removeprefix('commune-')}"

    def _district_of(self, recorder: str) -> str:
        return next(name for name, below in self._districts().items() if recorder in below)

    def _behind_nat(self) -> dict[str, str]:
        """Recorders that dial their district, as if they were behind NAT, and which."""
        district, below = list(self._districts().items())[-1]
        return {below[-1]: district} if len(below) > 1 else {}

    def _start(self) -> None:
        behind_nat = self._behind_nat()
        for recorder in self._recorders():
            if recorder not in behind_nat:
                self._recorder(recorder)
        for district, below in self._districts().items():
            self._gateway(district, below)
        for recorder, district in behind_nat.items():
            uplink = ["[uplink]", f'parent = "{self._addresses[district]}"', 'cap = "20Mbit"']
            self._recorder(recorder, uplink)
        self._gateway("province", list(self._districts()))
        for recorder, district in behind_nat.items():
            print(f"{recorder} is taken to be behind NAT: it dials {district}, which asks it by that uplink")
        for name, address in self._addresses.items():
            print(f"{name:12} gRPC {address}   (nvr cameras list --node {address})")
        with self.connect() as network:
            self._wait(
                lambda: len(network.cameras()) == len(self._cameras), "the province does not see all cameras"
            )

    def _recorder(self, name: str, more: Sequence[str] = ()) -> None:
        number = self._recorders().index(name)
        main, sub = self._cameras[number]
        lat, lon = _PLACES[number % len(_PLACES)]
        self._write(
            name,
            {"stores": [str(self._folder / name / "store")]},
            [*more, "[[camera]]", f'name = "camera-{number + 1}"', f"main = {json.dumps(main)}"]
            + ([f"sub = {json.dumps(sub)}"] if sub else [])
            + [f"lat = {lat}", f"lon = {lon}", f"title = {_text(_TITLES[number % len(_TITLES)])}"]
            + (self._copy() if name == _COPIES_AT else []),
        )
        self._run(name, "recorder")

    def _copy(self) -> list[str]:
        """Settings of a recorder that keeps a copy of another's footage."""
        source = self._addresses[_COPIED_FROM]
        return [
            "[[copy]]",
            f'from = "{source}"',
            f'cameras = ["{self._camera_of(_COPIED_FROM)}"]',
            'every = "1s"',
        ]

    def _gateway(self, name: str, below: Sequence[str]) -> None:
        children: list[str] = []
        for node in below:
            known = self._addresses.get(node)
            dialled = [f'address = "{known}"'] if known else ["uplink = true", f'node = "{node}"']
            children += ["[[child]]", *dialled]
        if below == self._standbys():
            children += ["[[failover.group]]", f'name = "{name}"', f"recorders = {_text(below)}"]
        self._write(name, {"data": str(self._folder / name)}, children)
        self._run(name, "gateway")

    def _write(self, name: str, node: dict[str, object], rest: Sequence[str]) -> None:
        lines = ["[node]", f'name = "{name}"', 'grpc = "127.0.0.1:0"']
        lines += [f"{key} = {_text(value)}" for key, value in node.items()]
        path = self._folder / f"{name}.toml"
        path.write_text("\n".join([*lines, *rest]) + "\n", encoding="utf-8")
        # The addresses of simulated cameras have no passwords; somebody's might.
        path.chmod(0o600)

    def _run(self, name: str, kind: str) -> None:
        """Starts a node; again at the address that it had, by which those above know it."""
        config = self._folder / f"{name}.toml"
        if name in self._addresses:
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("127.0.0.1:0", self._addresses[name]), encoding="utf-8")
        child = NvrChild(name, [kind, "--config", str(config), "--json", "--log-level", "error"])
        self._children[name] = child
        self._addresses[name] = str(child.ready(_READY_WAIT_S)["grpc"])

    def _stop(self) -> None:
        for child in reversed(list(self._children.values())):
            child.stop()


def _text(value: object) -> str:
    # A JSON string, or list of strings, is one of TOML.
    return json.dumps(value, ensure_ascii=False)
