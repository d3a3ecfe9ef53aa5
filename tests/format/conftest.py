"""What the recorder writes, for the independent reader."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvr import _core
from nvr.simulate.scenes import Scene, generate
from tests.support.recording import Media, begin, read_media, send

SECOND = 1_000_000
MIDNIGHT_US = 1_731_196_800 * SECOND
"""2024-11-10T00:00:00Z"""

SOUND_CAMERA = "0193143f-0000-7000-8000-000000000001"
OPEN_GOP_CAMERA = "0193143f-0000-7000-8000-000000000002"


@dataclass(frozen=True)
class Recording:
    """One run of a file."""

    camera: str
    stream: str
    media: Media
    start_us: int
    unsealed: bytes
    """The first segment's file in the middle of it."""


@dataclass(frozen=True)
class Recorded:
    root: Path
    recordings: list[Recording]
    opened_us: int
    closed_us: int
    watermark: bytes
    """As it was when the store was closed."""


def record(
    store: _core.Store, root: Path, camera: str, stream: str, media: Media, start_us: int
) -> Recording:
    writer = begin(store.writer(camera, stream), media)
    # Before the first segment ends.
    middle = min(len(media.arrivals), 600) // 2
    send(writer, media, start_us, slice(middle))
    writer.flush()
    (unsealed,) = (path.read_bytes() for path in root.glob(f"{camera}/{stream}/*/*.mp4"))
    send(writer, media, start_us, slice(middle, None))
    writer.end(start_us + int(len(media.pictures) * media.step * SECOND), "disconnected", "the file ended")
    writer.flush()
    return Recording(camera, stream, media, start_us, unsealed)


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """H.264 with B-frames and AAC, over midnight, in two segments; H.265 with long open GOPs."""
    folder = tmp_path_factory.mktemp("format")
    with_sound = Scene(
        seed=4, width=192, height=108, fps=10, duration_s=66, b_frames=2, bit_rate=100_000, audio=True
    )
    open_gop = Scene(
        seed=5, codec="h265", width=192, height=108, fps=25, duration_s=12, b_frames=3, gop_s=6, open_gop=True
    )
    root = folder / "store"
    opened_us = time.time_ns() // 1000
    store = _core.Store([str(root)])
    try:
        recordings = [
            record(
                store,
                root,
                SOUND_CAMERA,
                "main",
                read_media(generate(with_sound, folder), sound=True),
                MIDNIGHT_US - 30 * SECOND - 123_456,
            ),
            record(
                store,
                root,
                OPEN_GOP_CAMERA,
                "sub",
                read_media(generate(open_gop, folder)),
                MIDNIGHT_US + 3600 * SECOND,
            ),
        ]
    finally:
        store.close()
    watermark = (root / ".synced").read_bytes()
    return Recorded(root, recordings, opened_us, time.time_ns() // 1000, watermark)
