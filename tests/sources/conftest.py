"""A store, and sources that are recorded into it."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nvr._core import Ingest, Store, StreamEvent, StreamStatus
from nvr.simulate.scenes import Scene, generate
from nvr.sources.rules import SourceRules

HANG_S = 90.0
"""Only something that hangs takes so long."""


@dataclass
class SourceRecorder:
    """Cameras, one stream each, recorded into a store of their own."""

    root: Path
    store: Store
    ingest: Ingest
    camera_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self._events = self.ingest.watch_events()

    def record(self, url: str, camera_id: str = "") -> None:
        self.ingest.add(camera_id or self.camera_id, "main", url)

    def status(self, camera_id: str = "") -> StreamStatus:
        wanted = camera_id or self.camera_id
        (status,) = (each for each in self.ingest.status() if each.camera_id == wanted)
        return status

    def wait_until(
        self, what: str, condition: Callable[[StreamStatus], bool], camera_id: str = ""
    ) -> StreamStatus:
        """Waits for a state of a stream that nothing announces."""
        deadline = time.monotonic() + HANG_S
        while not condition(status := self.status(camera_id)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {status.state} {status.reason} {status.detail} {status.frames}")
            time.sleep(0.02)
        return status

    def events(self) -> list[StreamEvent]:
        """What happened since the last look."""
        return self._events.take()

    def stop(self) -> None:
        """Ends the recording; all of it is in the files then."""
        self.ingest.close()
        self.store.close()


@pytest.fixture
def recorder(tmp_path: Path, scenes: dict[str, Path]) -> Iterator[SourceRecorder]:
    root = tmp_path / "store"
    root.mkdir()
    store = Store([str(root)])
    rules = SourceRules(folders=(str(tmp_path), *{str(path.parent) for path in scenes.values()}))
    ingest = Ingest(store, silent_after_ms=3000, source_command=rules.command())
    yield SourceRecorder(root, store, ingest)
    ingest.close()
    store.close()


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files to send, by name."""
    cache = tmp_path_factory.mktemp("scenes")
    small = Scene(width=320, height=180, duration_s=4, gop_s=1.0, bit_rate=150_000)
    kinds = {
        "h264": replace(small, audio=True),
        "h264-b-frames": replace(small, b_frames=2),
        "h265-open-gop": replace(small, codec="h265", b_frames=3, open_gop=True),
    }
    return {name: generate(scene, cache) for name, scene in kinds.items()}
