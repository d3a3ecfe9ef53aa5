"""One camera from what several nodes have of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nvr.directory.types import CameraEntry
from nvr.footage.types import Camera, StreamInfo, StreamName, StreamState

__all__ = ["FOREVER_US", "is_removed", "kept", "merged_camera", "rank"]

FOREVER_US = (1 << 63) - 1
"""End of the footage of a stream that records."""

_IN_ORDER: list[list[StreamName]] = [[], ["main"], ["main", "sub"], ["sub"]]


def rank(entry: CameraEntry) -> tuple[bool, int, str]:
    """Orders what nodes have of a camera: who is to record it first, then the higher epoch."""
    return (not entry.assigned, -entry.epoch, entry.node_id)


def merged_camera(entries: Sequence[CameraEntry], names: Mapping[str, str]) -> Camera:
    """A camera as readers see it; ``entries`` in order of rank, ``names`` of their nodes by id."""
    first = entries[0]
    if len(entries) == 1 and [stream.kind for stream in first.camera.streams] in _IN_ORDER:
        return _of_one(first.camera, names[first.node_id])
    sources = tuple(names[entry.node_id] for entry in entries)
    streams = []
    for kind in ("main", "sub"):
        told = [stream for entry in entries for stream in entry.camera.streams if stream.kind == kind]
        if not told:
            continue
        oldest = min((stream.oldest_us for stream in told if stream.oldest_us), default=0)
        recording = any(stream.state is StreamState.RECORDING for stream in told)
        newest = 0 if recording else max(stream.newest_us for stream in told)
        streams.append(replace(told[0], oldest_us=oldest, newest_us=newest))
    return replace(
        first.camera,
        node=names[first.node_id],
        streams=tuple(streams),
        sources=sources if len(sources) > 1 else (),
    )


def _of_one(told: Camera, node: str) -> Camera:
    """What one node alone has of a camera: nearly every one, so without ``replace``, which takes long."""
    return Camera(
        told.id,
        told.name,
        told.title,
        told.place,
        node,
        tuple(
            replace(stream, newest_us=0)
            if stream.newest_us and stream.state is StreamState.RECORDING
            else stream
            for stream in told.streams
        ),
        told.height_m,
        told.view,
        told.area,
        told.owner,
    )


def kept(entries: Sequence[CameraEntry], kind: StreamName) -> tuple[int, int]:
    """Oldest and newest instant of which any of them may have footage; 0 and 0: none has."""
    ranges = [_kept(stream) for entry in entries for stream in entry.camera.streams if stream.kind == kind]
    ranges = [each for each in ranges if each[1]]
    if not ranges:
        return 0, 0
    return min(oldest for oldest, _ in ranges), max(newest for _, newest in ranges)


def _kept(stream: StreamInfo) -> tuple[int, int]:
    if stream.state is StreamState.RECORDING:
        return stream.oldest_us, FOREVER_US
    return (stream.oldest_us, stream.newest_us) if stream.newest_us else (0, 0)


def is_removed(camera: Camera) -> bool:
    """Whether it was removed from the node, and only its footage is left."""
    return bool(camera.streams) and all(stream.reason == "removed" for stream in camera.streams)
