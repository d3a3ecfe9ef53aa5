"""Streams as cameras code them, made by ffmpeg with x264 and x265: one file for each kind."""

import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

from nvr import nal

FPS = 15
SIGNED_VIDEO = uuid.UUID("005bc93f-2d71-5e95-ada4-796f90877a6f")
"""Names the SEI messages in which a camera signs its pictures."""


@dataclass(frozen=True)
class Kind:
    """How a stream is coded."""

    codec: str
    parameters: str
    """Of x264 or x265."""
    seconds: int = 4
    fps: int = FPS
    edit: Callable[[str, int, list[bytes]], list[bytes]] | None = None
    """What becomes of the NAL units of each picture, by codec, number and units."""


def _signed(codec: str, number: int, units: list[bytes]) -> list[bytes]:
    """Each picture has a signature before its slices."""
    # No byte of it can be taken for a start code, and the last one is not 0.
    body = bytes(1 + (number * 7 + at * 13) % 255 for at in range(300))
    payload = SIGNED_VIDEO.bytes + body
    # Payload type 5, its size (255 + rest), the payload, the stop bit (H.264, 7.3.2.3).
    message = b"\x05\xff" + bytes([len(payload) - 255]) + payload + b"\x80"
    first = next(i for i, unit in enumerate(units) if _is_slice(codec, unit))
    return [*units[:first], b"\x06" + message, *units[first:]]


def _broken_link(codec: str, _: int, units: list[bytes]) -> list[bytes]:
    """CRA pictures become BLA pictures with leading ones (H.265, 7.4.2.2): as after a cut."""
    assert codec == "h265"
    return [
        bytes([16 << 1 | unit[0] & 0x81]) + unit[1:] if unit[0] >> 1 & 0x3F == 21 else unit for unit in units
    ]


def _is_slice(codec: str, unit: bytes) -> bool:
    return 1 <= unit[0] & 0x1F <= 5 if codec == "h264" else unit[0] >> 1 & 0x3F < 32


_CLOSED = "scenecut=0:open-gop=0:b-adapt=0:rc-lookahead=0"

KINDS = {
    "h264-pyramid": Kind("h264", f"keyint=30:bframes=5:b-pyramid=normal:ref=4:{_CLOSED}"),
    "h264-slices": Kind("h264", f"keyint=15:bframes=0:slices=5:{_CLOSED}"),
    "h264-interlaced": Kind("h264", f"keyint=15:bframes=2:tff=1:{_CLOSED}"),
    "h264-open-gop": Kind("h264", "keyint=15:min-keyint=15:bframes=3:open-gop=1:scenecut=0:b-adapt=0"),
    "h264-intra-only": Kind("h264", f"keyint=1:bframes=0:{_CLOSED}"),
    "h264-intra-refresh": Kind("h264", "keyint=15:bframes=0:intra-refresh=1:scenecut=0"),
    "h264-long-gop": Kind("h264", f"keyint=infinite:bframes=0:{_CLOSED}", seconds=8),
    "h264-signed": Kind("h264", f"keyint=15:bframes=2:{_CLOSED}", edit=_signed),
    "h265-pyramid": Kind("h265", "keyint=15:bframes=4:b-pyramid=1:open-gop=1:scenecut=0:b-adapt=0"),
    "h265-bla": Kind("h265", "keyint=15:bframes=3:open-gop=1:scenecut=0:b-adapt=0", edit=_broken_link),
    "h265-slices": Kind("h265", "keyint=15:bframes=0:slices=3:scenecut=0"),
    "h265-fields": Kind("h265", "keyint=30:bframes=2:interlace=tff:scenecut=0:b-adapt=0", fps=30),
    "h265-temporal-layers": Kind("h265", "keyint=32:bframes=3:temporal-layers=3:b-adapt=0:scenecut=0"),
}


def make(name: str, folder: Path) -> Path:
    """The MP4 of one of :data:`KINDS`."""
    kind = KINDS[name]
    path = folder / f"{name}.mp4"
    if path.exists():
        return path
    coded = encode(kind, path.with_suffix(".coded.mp4"))
    if kind.edit is None:
        coded.replace(path)
    else:
        _edited(kind, coded, path)
    return path


def encode(
    kind: Kind,
    path: Path,
    *,
    size: str = "320x240",
    inputs: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
) -> Path:
    """Has ffmpeg draw and code a file; ``inputs`` and ``arguments``: further ones of ffmpeg."""
    source = f"testsrc2=size={size}:rate={kind.fps}:duration={kind.seconds}"
    encoder, option = ("libx264", "-x264-params") if kind.codec == "h264" else ("libx265", "-x265-params")
    quiet = "" if kind.codec == "h264" else ":log-level=none:pools=1"
    done = subprocess.run(
        [
            *("ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source, *inputs),
            *("-pix_fmt", "yuv420p", "-c:v", encoder, "-preset", "superfast"),
            *(option, kind.parameters + quiet, "-threads", "1", *arguments, str(path)),
        ],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return path


def _edited(kind: Kind, source: Path, path: Path) -> None:
    assert kind.edit is not None
    with av.open(str(source)) as played, av.open(str(path), "w") as made:
        pictures = played.streams.video[0]
        length = nal.length_bytes(kind.codec, bytes(pictures.codec_context.extradata or b""))
        copy = made.add_stream_from_template(pictures)
        for number, packet in enumerate(played.demux(pictures)):
            if not packet.size:
                continue
            units = kind.edit(kind.codec, number, nal.split_length_prefixed(bytes(packet), length))
            changed = av.Packet(nal.join(units))
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.duration, changed.is_keyframe = packet.duration, packet.is_keyframe
            changed.stream = copy
            made.mux(changed)
