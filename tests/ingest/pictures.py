"""The pictures of a file and of a recording, to be compared."""

from pathlib import Path

import av

from nvr import nal
from nvr._core import Store

ALL_TIME = (0, 1 << 52)

Picture = tuple[int, list[bytes]]
"""Presentation time (1/90,000 s, from the first one decoded) and NAL units but for parameter sets."""


def units_of(codec: str, sample: bytes) -> list[bytes]:
    """The NAL units of a sample but for parameter sets.

    A start code inside a unit separates two: files have them at their end, and RTP brings two.
    """
    units = [
        part
        for unit in nal.split_length_prefixed(sample, 4)
        for part in nal.split_annex_b(b"\x00\x00\x01" + unit)
    ]
    return [unit for unit in units if not nal.is_parameter_set(codec, unit)]


def of_file(path: Path, codec: str) -> list[Picture]:
    """Of an MP4, in decoding order."""
    with av.open(path) as container:
        video = container.streams.video[0]
        packets = [p for p in container.demux(video) if p.size and p.pts is not None]
        base = video.time_base
        assert base is not None
        times = [round(p.pts * base * 90_000) for p in packets if p.pts is not None]
        return [(t - times[0], units_of(codec, bytes(p))) for t, p in zip(times, packets, strict=True)]


def samples_of(root: Path, camera_id: str) -> dict[int, bytes]:
    """All samples that were recorded of a camera, in decoding order, by presentation time (1/90,000 s)."""
    store = Store([str(root)], read_only=True)
    try:
        # A group with an open end ends with the keyframe that the next one starts with.
        return {
            pts_90k: data
            for start_us in store.gops(camera_id, "main", *ALL_TIME)
            for data, pts_90k, _ in store.gop_samples(camera_id, "main", start_us).samples
        }
    finally:
        store.close()


def of_recording(root: Path, camera_id: str, codec: str) -> list[Picture]:
    """Of all that was recorded of a camera, in decoding order."""
    samples = samples_of(root, camera_id)
    first = next(iter(samples))
    return [(pts_90k - first, units_of(codec, data)) for pts_90k, data in samples.items()]
