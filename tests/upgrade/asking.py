"""What a recorder answers about the footage of the fixtures, in a form that can be written down.

Uses only what the client of every version has: it is run with the code of the version that wrote
them, and with today's.
"""

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av

STREAMS = {"gate": ("main", "sub"), "yard": ("main",)}
"""Cameras of the fixtures, and their streams."""


def instant(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def answers(net: Any, start_us: int, end_us: int) -> dict[str, Any]:
    """Cameras; for each stream coverage, fragments and the packets of a clip."""
    return {name: _camera(net.camera(name), streams, start_us, end_us) for name, streams in STREAMS.items()}


def _camera(camera: Any, streams: tuple[str, ...], start_us: int, end_us: int) -> dict[str, Any]:
    info = camera.info()
    return {
        "id": info.id,
        "title": info.title,
        "place": info.place and [info.place.latitude, info.place.longitude],
        "streams": {stream: _stream(camera, stream, start_us, end_us) for stream in streams},
    }


def _stream(camera: Any, stream: str, start_us: int, end_us: int) -> dict[str, Any]:
    start, end = instant(start_us), instant(end_us)
    coverage = camera.coverage(start, end, stream=stream)
    fragments = list(camera.fragments(start, end, stream=stream))
    return {
        "coverage": [
            [item.range.start_us, item.range.end_us, getattr(item, "reason", "recorded")] for item in coverage
        ],
        "fragments": [
            [fragment.ref.run_id, fragment.ref.sequence, fragment.ref.start_us, _hash(fragment.data)]
            for fragment in fragments
        ],
        "clip": _clip(camera, stream, start, end),
    }


def _clip(camera: Any, stream: str, start: datetime, end: datetime) -> list[str]:
    """For each part, a hash of all packets: what they hold, and when they are shown."""
    with tempfile.TemporaryDirectory() as folder:
        report = camera.clip(start, end, stream=stream).save(Path(folder) / "clip.mp4")
        return [_packets(part.path) for part in report.parts]


def _packets(path: Path) -> str:
    total = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                total.update(f"{packet.stream.index} {packet.pts} {packet.dts} {packet.time_base}\n".encode())
                total.update(bytes(packet))
    return total.hexdigest()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
