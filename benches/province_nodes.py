"""The nodes of a province's day: recorders with footage, what tells of those that are simulated, gateways.

All are what ``nvr up`` and ``nvr gateway`` run; several share a process, as in a small station.
"""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benches import recipe
from benches.communes import CAMERAS, Commune, communes
from benches.harness import process, wait_until
from benches.ledger import NEAREST, SECOND_US, Ledger, Question
from nvr.catalog.catalog import Catalog
from nvr.directory.geometry import distance_m
from nvr.footage.admin import CameraSettings
from nvr.footage.types import Place, TimeRange
from nvr.security.node_key import NodeKey

RECORDERS_A_PROCESS, DISTRICTS_A_PROCESS = 25, 13
LIVE = "live"
_MARGIN_US = 10 * SECOND_US
NOT_RECORDED = "rtsp://127.0.0.1:1/not-recorded"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a province. ``towns``: communes whose recorders are real."""

    communes: int = 2_000
    districts: int = 26
    towns: int = 300
    share: float = 1.0

    def made(self) -> list[Commune]:
        """The communes."""
        return communes(self.communes, self.districts, self.towns)

    def is_real(self, question: Question) -> bool:
        """Whether it concerns recorders that are real; else those are simulated."""
        return question.commune < self.towns


FULL = Size()
QUICK = Size(communes=60, districts=2, towns=12, share=0.01)


Told = Callable[[], list[dict[str, Any]]]
"""What a process prints of its nodes, a line of JSON for each."""


class Running:
    """Processes of nodes, by kind."""

    def __init__(self, stack: ExitStack, work: Path) -> None:
        self._stack = stack
        self._work = work
        self.pids: dict[str, list[int]] = defaultdict(list)

    def start(self, kind: str, name: str, *words: str | Path, nodes: int) -> Told:
        """Starts a process of nodes; what is returned waits until all of them serve."""
        log = self._work / f"{name}.log"
        running = self._stack.enter_context(process([sys.executable, *words], log))
        self.pids[kind].append(running.pid)

        def told() -> list[dict[str, Any]]:
            lines: list[str] = []

            def all_serve() -> bool:
                if running.poll() is not None:
                    raise RuntimeError(f"{name} did not start; see {log}")
                text = log.read_text().splitlines(keepends=True)
                lines[:] = [line for line in text if line.startswith("{") and line.endswith("\n")]
                return len(lines) == nodes

            wait_until(all_serve, f"{name} serves", 180)
            return [json.loads(line) for line in lines]

        return told


def wanted_footage(
    made: Sequence[Commune], day: Ledger, towns: int
) -> dict[tuple[int, int], list[TimeRange]]:
    """What the towns' cameras must have for the day, merged, by commune and camera.

    All cameras that are nearest to a case's place have all that is asked of it: so
    that a question finds footage at several, and not at that of the clip alone.
    """
    by_place: dict[tuple[int, Place], list[TimeRange]] = defaultdict(list)
    for each in day.extractions:
        if each.commune < towns:
            by_place[each.commune, each.place].append(each.range)
    found: dict[tuple[int, int], list[TimeRange]] = defaultdict(list)
    for (number, place), ranges in by_place.items():
        district = made[number].district
        near = sorted(
            (distance_m(place, stands), commune.number, camera)
            for commune in made[:towns]
            if commune.district == district
            for camera, stands in enumerate(commune.cameras)
        )
        for _, commune, camera in near[:NEAREST]:
            found[commune, camera] += ranges
    return {camera: _merged(ranges) for camera, ranges in found.items()}


def _merged(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """With a margin around each, in order of time."""
    merged: list[TimeRange] = []
    for each in sorted(ranges, key=lambda each: each.start_us):
        start_us, end_us = each.start_us - _MARGIN_US, each.end_us + _MARGIN_US
        if merged and start_us <= merged[-1].end_us:
            merged[-1] = replace(merged[-1], end_us=max(end_us, merged[-1].end_us))
        else:
            merged.append(TimeRange(start_us, end_us))
    return merged


def make_recorders(work: Path, size: Size, day: Ledger, day_us: int, live: Mapping[int, str]) -> None:
    """Stores and settings of all real recorders. ``live``: a camera's address by district."""
    made = size.made()
    footage = wanted_footage(made, day, size.towns)
    media = recipe.load(recipe.make_small(work))
    for commune in made[: size.towns]:
        cameras = [
            CameraSettings(
                name=f"camera-{number}",
                main_url=NOT_RECORDED,
                title=f"Ngã tư số {number}",
                place=place,
                area=f"38-{commune.number}",
                enabled=False,
            )
            for number, place in enumerate(commune.cameras)
        ]
        # A district's first recorder has one.
        if commune.number < size.districts:
            cameras.append(CameraSettings(name=LIVE, main_url=live[commune.district]))
        of = {
            f"camera-{camera}": [TimeRange(day_us + each.start_us, day_us + each.end_us) for each in ranges]
            for (number, camera), ranges in footage.items()
            if number == commune.number
        }
        make_recorder(work, f"ward-{commune.number}", cameras, of, media)


def make_recorder(
    work: Path,
    name: str,
    cameras: Sequence[CameraSettings],
    footage: Mapping[str, Sequence[TimeRange]],
    media: recipe.Media,
) -> Path:
    """A recorder's catalog, store and settings file, which is returned. ``footage``: by camera's name."""
    from nvr._core import Store

    root, data = work / name, work / name / ".node"
    data.mkdir(parents=True)
    catalog = Catalog(data, NodeKey.load_or_create(data))
    ids = {camera.settings.name: camera.id for camera in catalog.import_once(cameras) or []}
    catalog.close()
    store = Store([str(root)])
    for camera, ranges in footage.items():
        writer = store.writer(ids[camera], "main")
        for each in ranges:
            _write(writer, media, each.start_us, each.duration_us)
    store.close()
    config = work / f"{name}.toml"
    config.write_text(f'[node]\nname = "{name}"\nstores = ["{root}"]\ngrpc = "127.0.0.1:0"\n')
    return config


def _write(writer: Any, media: recipe.Media, start_us: int, duration_us: int) -> None:
    """A run, without waiting for real time."""
    writer.begin(codec="h264", extra_data=media.extra_data, width=media.width, height=media.height)
    pictures = duration_us * recipe.SMALL_FPS // SECOND_US
    for number in range(pictures):
        packet = media.packets[number % len(media.packets)]
        writer.video(
            packet.data,
            number * 90_000 // recipe.SMALL_FPS,
            start_us + number * SECOND_US // recipe.SMALL_FPS,
        )
        if number % 600 == 599:
            writer.flush()
    writer.end(start_us + duration_us)
    writer.flush()


def standing_in(district: int) -> str:
    """Id of the node that tells of a district's simulated recorders."""
    return f"{0xD00000 + district:064x}"


def directory_file(work: Path, district: int) -> Path:
    """What it tells."""
    return work / f"told-{district}.sqlite"


def fill(path: Path, district: int, simulated: Sequence[Commune], oldest_us: int) -> None:
    """A directory with simulated recorders directly below, as if they had told it."""
    from nvr.directory.directory import Directory
    from nvr.directory.types import CameraEntry, DirectoryBatch, NodeEntry
    from nvr.footage.types import CAPABILITIES, Camera, NodeKind, StreamInfo, StreamState

    own = NodeEntry(
        standing_in(district), f"told-{district}", kind=NodeKind.GATEWAY, capabilities=CAPABILITIES
    )
    directory = Directory(path, own)
    streams = (
        StreamInfo("main", StreamState.RECORDING, video_codec="avc1.4d401f", width=1920, height=1080,
                   oldest_us=oldest_us),
        StreamInfo("sub", StreamState.RECORDING, video_codec="avc1.4d401e", width=640, height=360,
                   oldest_us=oldest_us),
    )  # fmt: skip
    for commune in simulated:
        node_id = f"{0xA00000 + commune.number:064x}"
        node = NodeEntry(
            node_id, f"rural-{commune.number}", kind=NodeKind.RECORDER, capabilities=CAPABILITIES
        )
        cameras = tuple(
            CameraEntry(
                node_id,
                Camera(
                    f"0193143f-0000-7000-8000-{commune.number * CAMERAS + number:012x}",
                    f"camera-{number}",
                    f"Ngã tư số {number}",
                    place,
                    streams=streams,
                    area=f"38-{commune.number}",
                ),
            )
            for number, place in enumerate(commune.cameras)
        )
        batch = DirectoryBatch("e", 1, snapshot=True, current=True, nodes=(node,), cameras=cameras)
        directory.apply(node_id, batch)
        directory.set_link(node_id, connected=True)
    directory.close()


async def tell(work: Path, size: Size, districts: Sequence[int], oldest_us: int) -> None:
    """Makes and serves the directories of some districts' simulated recorders, until SIGTERM."""
    from nvr.directory.directory import Directory
    from nvr.directory.types import NodeEntry
    from nvr.footage.types import CAPABILITIES, NodeInfo, NodeKind
    from tests.gateway.tree import Served, gateway

    made = size.made()
    # A server of which nobody knows is collected, and stops.
    served: list[Served] = []
    async with AsyncExitStack() as stack:
        for district in districts:
            simulated = [each for each in made if each.district == district and not each.town]
            path, node_id = directory_file(work, district), standing_in(district)
            fill(path, district, simulated, oldest_us)
            name = f"told-{district}"
            own = NodeEntry(node_id, name, kind=NodeKind.GATEWAY, capabilities=CAPABILITIES)
            directory = Directory(path, own)
            for node in directory.children():
                directory.set_link(node.id, connected=True)
            of = await stack.enter_async_context(gateway(name, [], wait=False))
            of.footage._node = NodeInfo(node_id, name, "0", CAPABILITIES, kind=NodeKind.GATEWAY)
            served.append(Served(of.footage, directory, name))
            await served[-1].start()
            print(json.dumps({"name": name, "grpc": served[-1].address}), flush=True)
        await asyncio.Event().wait()


def start_telling(running: Running, work: Path, size: Size, oldest_us: int) -> list[Told]:
    """Processes that tell of the simulated recorders; they need some time to write what they tell."""
    words = ["-m", "benches.province_nodes", str(work), json.dumps(_fields(size)), str(oldest_us)]
    return [
        running.start("told", f"told-by-{some[0]}", *words, *map(str, some), nodes=len(some))
        for some in _groups(range(size.districts), DISTRICTS_A_PROCESS)
    ]


def start_recorders(running: Running, work: Path, size: Size) -> list[Told]:
    """The real recorders, some in each process."""
    return [
        running.start("recorder", f"wards-{some[0]}", *up(work / f"ward-{each}.toml" for each in some),
                      nodes=len(some))
        for some in _groups(range(size.towns), RECORDERS_A_PROCESS)
    ]  # fmt: skip


def start_gateways(running: Running, work: Path, size: Size, addresses: dict[str, str]) -> str:
    """The districts and the province; their addresses are added. Returns the province's id."""
    every = range(size.districts)
    told = []
    for some in _groups(every, DISTRICTS_A_PROCESS):
        configs = []
        for district in some:
            below = [f"ward-{number}" for number in range(district, size.towns, size.districts)]
            children = [addresses[name] for name in (*below, f"told-{district}")]
            configs.append(_gateway_config(work, f"district-{district}", children))
        told.append(running.start("district", f"districts-{some[0]}", *up(configs), nodes=len(configs)))
    addresses |= addresses_of(told)
    top = _gateway_config(work, "province", [addresses[f"district-{district}"] for district in every])
    (fact,) = running.start("province", "province", *up([top]), nodes=1)()
    addresses["province"] = fact["grpc"]
    return str(fact["id"])


def addresses_of(told: Iterable[Told]) -> dict[str, str]:
    """Addresses by name, once all serve."""
    return {each["name"]: each["grpc"] for of in told for each in of()}


def _groups(numbers: range, most: int) -> list[range]:
    return [numbers[first : first + most] for first in range(0, len(numbers), most)]


def _gateway_config(work: Path, name: str, children: Sequence[str]) -> Path:
    """Settings of a gateway over children."""
    text = f'[node]\nname = "{name}"\ndata = "{work / name}"\ngrpc = "127.0.0.1:0"\n'
    text += "".join(f'[[child]]\naddress = "{child}"\n' for child in children)
    config = work / f"{name}.toml"
    config.write_text(text)
    return config


def up(configs: Iterable[Path]) -> list[str | Path]:
    """Words for Python: nodes in one process."""
    return ["-m", "nvr", "up", "--json", "--log-level", "warning", *configs]


def _fields(size: Size) -> list[float]:
    return [size.communes, size.districts, size.towns, size.share]


if __name__ == "__main__":
    folder, fields, oldest, *numbers = sys.argv[1:]
    asyncio.run(tell(Path(folder), Size(*json.loads(fields)), [int(each) for each in numbers], int(oldest)))
