"""A store, and sessions that record into it."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvr._core import Ingest, Store, StreamStatus
from nvr.simulate.scenes import Scene, generate
from tests.peers.gstreamer import gst_camera as gst_camera

HANG_S = 90.0
"""Only something that hangs takes so long."""


@dataclass(frozen=True)
class Recorder:
    """One stream of one camera, recorded into a store of its own."""

    root: Path
    store: Store
    ingest: Ingest
    camera_id: str

    def record(self, url: str) -> None:
        """Starts recording."""
        self.ingest.add(self.camera_id, "main", url)

    def status(self) -> StreamStatus:
        """What the stream does now."""
        (status,) = (s for s in self.ingest.status() if s.camera_id == self.camera_id)
        return status

    def wait_until(self, what: str, condition: Callable[[StreamStatus], bool]) -> StreamStatus:
        """Waits for a state of the stream that nothing announces."""
        deadline = time.monotonic() + HANG_S
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {status.state} {status.reason} {status.detail}")
            time.sleep(0.05)
        return status

    def segments(self) -> list[Path]:
        """The files of what was recorded, oldest first."""
        return sorted((self.root / self.camera_id / "main").glob("*/*.mp4"))

    def stop(self) -> None:
        """Ends the recording; all of it is in the files then."""
        self.ingest.close()
        self.store.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    store = Store([str(tmp_path)])
    ingest = Ingest(store)
    yield Recorder(tmp_path, store, ingest, str(uuid.uuid4()))
    ingest.close()
    store.close()


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files to play, by name; with real footage where there is some."""
    cache = tmp_path_factory.mktemp("scenes")
    kinds = {
        "h264": Scene(width=320, height=180, duration_s=4, gop_s=1.0, bit_rate=150_000, audio=True),
        "h264-b-frames": Scene(width=320, height=180, duration_s=4, gop_s=2.0, bit_rate=150_000, b_frames=2),
        "h265-open-gop": Scene(
            codec="h265",
            width=320,
            height=180,
            duration_s=4,
            gop_s=1.0,
            bit_rate=150_000,
            b_frames=3,
            open_gop=True,
        ),
    }
    files = {name: generate(scene, cache) for name, scene in kinds.items()}
    if footage := os.environ.get("NVR_FOOTAGE"):
        files["real"] = Path(footage) / "car-detection.mp4"
    else:
        files["real"] = files["h264"]
    return files
