"""The footage that is measured with: made from nothing, the same everywhere.

What a commune's camera sends by its main stream: H.264 High without B-frames, 1280×720, 15 pictures
a second, a keyframe every 2 s, 2 Mbit/s held constant. Noise keeps the encoder at its bitrate, as
grain and leaves do outdoors. Two audio-less minutes that loop.
"""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av

from benches.harness import program

FPS = 15
GOP_PICTURES = 2 * FPS
BITS_PER_SECOND = 2_000_000
SECONDS = 120
TICKS_PER_PICTURE = 90_000 // FPS

SOURCE = f"testsrc2=size=1280x720:rate={FPS},noise=alls=12:allf=t"
ENCODER = [
    *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0"),
    *("-g", str(GOP_PICTURES), "-keyint_min", str(GOP_PICTURES), "-sc_threshold", "0"),
    *("-b:v", str(BITS_PER_SECOND), "-maxrate", str(BITS_PER_SECOND), "-bufsize", str(BITS_PER_SECOND)),
    *("-x264-params", "nal-hrd=cbr", "-threads", "1", "-video_track_timescale", "90000", "-an"),
]

# One black picture: for indexes of many days, where the pictures themselves do not matter.
TINY = [
    *("-f", "lavfi", "-i", "color=size=64x64:rate=1:duration=1", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    *("-video_track_timescale", "90000"),
]

# What the same camera sends by its sub-stream: 640 by 360, 10 pictures a second, 300 kbit/s.
SUB = [
    *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=10,noise=alls=8:allf=t", "-t", "60"),
    *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "20"),
    *("-keyint_min", "20", "-sc_threshold", "0", "-b:v", "300k", "-maxrate", "300k", "-bufsize", "300k"),
    *("-x264-params", "nal-hrd=cbr", "-threads", "1", "-video_track_timescale", "90000", "-an"),
]

# A small picture twice a second, 8 kbit/s or so: for many recorders with long footage on one disk.
SMALL_FPS = 2
SMALL = [
    *("-f", "lavfi", "-i", f"testsrc2=size=160x90:rate={SMALL_FPS},noise=alls=4:allf=t", "-t", "60"),
    *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0", "-b:v", "8k"),
    *("-maxrate", "8k", "-bufsize", "16k", "-threads", "1", "-g", str(2 * SMALL_FPS), "-sc_threshold", "0"),
    *("-video_track_timescale", "90000", "-an"),
]


class Packet(NamedTuple):
    """One access unit: NAL units, each after its length in 4 bytes."""

    data: bytes
    pts_90k: int
    keyframe: bool


class Media(NamedTuple):
    """A whole file in memory."""

    extra_data: bytes
    width: int
    height: int
    packets: list[Packet]


def make(folder: Path, seconds: int = SECONDS) -> Path:
    """Makes the file in a folder, unless it is there."""
    command = ["-f", "lavfi", "-i", SOURCE, "-t", str(seconds), *ENCODER]
    return _made(folder / f"two-mbit-{seconds}s.mp4", command)


def make_tiny(folder: Path) -> Path:
    """Makes the file of one small picture, unless it is there."""
    return _made(folder / "tiny.mp4", TINY)


def make_sub(folder: Path) -> Path:
    """Makes the file of a sub-stream, unless it is there."""
    return _made(folder / "sub.mp4", SUB)


def make_small(folder: Path) -> Path:
    """Makes the file of small pictures, unless it is there."""
    return _made(folder / "small.mp4", SMALL)


def _made(path: Path, command: Sequence[str]) -> Path:
    if not path.exists():
        unfinished = path.with_suffix(".part.mp4")
        subprocess.run(
            [program("ffmpeg"), "-nostdin", "-loglevel", "error", "-y", *command, str(unfinished)], check=True
        )
        unfinished.rename(path)
    return path


def load(path: Path) -> Media:
    """Reads a file that was made here; presentation times start at 0."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [
            Packet(bytes(packet), packet.pts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
        extra_data = stream.codec_context.extradata or b""
        return Media(extra_data, stream.width, stream.height, packets)


def endless(media: Media) -> Iterator[Packet]:
    """The packets over and over, presentation times going on."""
    loop_90k = len(media.packets) * TICKS_PER_PICTURE
    offset_90k = 0
    while True:
        for packet in media.packets:
            yield packet._replace(pts_90k=packet.pts_90k + offset_90k)
        offset_90k += loop_90k
