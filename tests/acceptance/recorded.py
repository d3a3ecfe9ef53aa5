"""A world that was really recorded: scenes with time codes, written to a store by the Rust core."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nvr import _core
from nvr.catalog.catalog import CatalogCamera
from nvr.directory.directory import Directory
from nvr.directory.types import node_entry
from nvr.footage.admin import CameraSettings
from nvr.footage.source import FootageSource
from nvr.footage.types import CAPABILITIES, NodeInfo, NodeKind, Place
from nvr.network_catalog.held import HeldAreas
from nvr.node.events import EventBus
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.frames import Decoders
from nvr.recorder.live import LiveHub
from nvr.recorder.local_footage import LocalFootage
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.told import ToldCameras
from nvr.simulate.scenes import Scene, generate
from tests.acceptance.world import SECOND, RecordedCamera, Run, World
from tests.support.recording import begin, read_media, send

NODE = "station-1"
NODE_ID = "ab" * 32
ZERO_US = 1_731_182_400 * SECOND
GATE = "0193143f-0000-7000-8000-000000000001"
# About 370 m from one another.
PLACES = (Place(19.9275, 105.8571), Place(19.93, 105.86))
YARD = "0193143f-0000-7000-8000-000000000002"


@dataclass(frozen=True)
class Recorded:
    store: _core.Store
    world: World


@contextmanager
def record_world(folder: Path) -> Iterator[Recorded]:
    """Records both cameras; the store stays open for readers."""
    scenes = folder / "scenes"
    day = generate(Scene(seed=1, width=320, height=180, fps=10, duration_s=20), scenes)
    night = generate(Scene(seed=2, width=320, height=180, fps=10, duration_s=15, night=True), scenes)
    hevc = Scene(seed=3, width=320, height=180, fps=25, duration_s=12, codec="h265", b_frames=2, gop_s=5)
    store = _core.Store([str(folder / "store")])
    try:
        gate = RecordedCamera(
            id=GATE,
            name="market-gate",
            runs=tuple(
                record_run(store, GATE, path, start_us, "unreachable")
                for path, start_us in ((day, ZERO_US), (night, ZERO_US + 27 * SECOND + 300_000))
            ),
            gap_reason="unreachable",
        )
        yard = RecordedCamera(
            id=YARD,
            name="yard",
            runs=(record_run(store, YARD, generate(hevc, scenes), ZERO_US + 3 * SECOND, "silent"),),
            gap_reason="",
        )
        yield Recorded(store, World(node=NODE, node_id=NODE_ID, gate=gate, yard=yard, pictures_decode=True))
    finally:
        store.close()


@contextmanager
def copy_world(original: Recorded, folder: Path) -> Iterator[Recorded]:
    """A store that holds a copy of all of it, made newest fragment first."""
    store = _core.Store([str(folder / "store")])
    try:
        for camera in original.world.cameras:
            writer = store.copy_writer(camera.id, "main")
            start_us, end_us = ZERO_US - 3600 * SECOND, ZERO_US + 3600 * SECOND
            for fragment in original.store.fragments(camera.id, "main", start_us, end_us, backward=True):
                config = original.store.config(fragment)
                writer.add(config.init_segment, original.store.read_fragment(fragment))
                writer.flush()
            for gap in original.store.coverage(camera.id, "main", start_us, end_us)[1]:
                writer.absent(gap.start_us, gap.end_us, gap.reason, gap.detail)
        yield Recorded(store, original.world)
    finally:
        store.close()


def record_run(store: _core.Store, camera_id: str, path: Path, start_us: int, reason: str) -> Run:
    """One run of a file's pictures; each is shown at ``start_us`` + its media time."""
    media = read_media(path)
    frames = tuple(sorted(start_us + int(picture.time * SECOND) for picture in media.pictures))
    end_us = frames[-1] + int(media.step * SECOND)
    writer = begin(store.writer(camera_id, "main"), media)
    send(writer, media, start_us)
    writer.end(end_us, reason)
    writer.flush()
    return Run(frames, end_us)


@asynccontextmanager
async def local_footage(recorded: Recorded) -> AsyncIterator[FootageSource]:
    """``LocalFootage`` over the store, as a node puts it together."""
    async with AsyncExitStack() as stack:
        pool = ReadPool(2, "read")
        stack.callback(pool.close)
        decoders = Decoders(2)
        stack.callback(decoders.close)
        ingest = _core.Ingest(recorded.store)
        stack.push_async_callback(pool.run, ingest.close, "recorder_stopped")
        live = LiveHub(ingest, pool)
        live.start()
        stack.callback(live.stop)
        cameras = [
            CatalogCamera(camera.id, CameraSettings(camera.name, "rtsp://10.0.0.7/main", place=place), 0, 0)
            for camera, place in zip(recorded.world.cameras, PLACES, strict=True)
        ]
        node = NodeInfo(NODE_ID, NODE, _core.__version__, CAPABILITIES, kind=NodeKind.RECORDER)
        tree = Directory(None, node_entry(node))
        stack.callback(tree.close)
        directory = CameraDirectory(NODE, cameras)
        told = ToldCameras(tree, directory, store=recorded.store, ingest=ingest, pool=pool, node_name=NODE)
        await told.tell_all()
        yield LocalFootage(
            areas=HeldAreas(tree),
            node=node,
            store=recorded.store,
            ingest=ingest,
            directory=directory,
            tree=tree,
            live=live,
            events=EventBus(),
            pool=pool,
            decoders=decoders,
        )
