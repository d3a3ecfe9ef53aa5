"""What ffmpeg and its libraries read in files that the recorder made, and in those that cameras played."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import PictureType

from nvr import nal


def assert_decodes(*paths: Path) -> None:
    """ffmpeg decodes all of each file, and has no word to say about it."""
    for path in paths:
        done = _ffmpeg("-v", "warning", "-xerror", "-i", path, "-f", "null", "-enc_time_base", "1:90000", "-")
        assert (done.returncode, done.stderr.decode()) == (0, ""), path
        assert frame_digests(path), path


def frame_digests(path: Path) -> list[str]:
    """MD5 of each decoded picture's pixels, in order of presentation."""
    done = _ffmpeg(
        "-v", "error", "-xerror", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("#")]
    return [line.rsplit(",", 1)[1].strip() for line in lines]


def _ffmpeg(*arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["ffmpeg", "-nostdin", *map(str, arguments)], capture_output=True, check=False, timeout=120
    )


@dataclass(frozen=True)
class Payload:
    """What a file holds, in the order in which it was sent."""

    pictures: list[list[bytes]]
    """NAL units of each picture, but for parameter sets."""
    sound: list[bytes]


def payload(paths: Sequence[Path], codec: str, *, until_last_picture: bool = False) -> Payload:
    """The payload of files that follow one another.

    ``until_last_picture``: without sound before the first picture is shown, and after the last one's end.
    """
    found = Payload([], [])
    for path in paths:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            length = nal.length_bytes(codec, bytes(video.codec_context.extradata or b""))
            end = (video.duration or 0) * (video.time_base or 0)
            for packet in (
                container.demux(video=0, audio=0) if container.streams.audio else container.demux(video)
            ):
                if not packet.size or packet.pts is None:
                    continue
                if packet.stream.type == "video":
                    # A start code inside a unit separates two: files have them, and RTP brings two.
                    units = [
                        part
                        for unit in nal.split_length_prefixed(bytes(packet), length)
                        for part in nal.split_annex_b(b"\x00\x00\x01" + unit)
                    ]
                    found.pictures.append([unit for unit in units if not nal.is_parameter_set(codec, unit)])
                elif not until_last_picture or 0 <= packet.pts * packet.time_base < end:
                    found.sound.append(bytes(packet))
    return found


def with_picture_digests(source: Path, path: Path) -> None:
    """Codes a file anew in H.265, with an SEI message in each picture that holds the MD5 of its pixels."""
    with av.open(str(source)) as played, av.open(str(path), "w") as made:
        pictures = played.streams.video[0]
        parameters = "keyint=10:min-keyint=10:scenecut=0:bframes=2:b-adapt=0:open-gop=0:hash=1:log-level=none"
        video = made.add_stream(
            "libx265", rate=pictures.average_rate, options={"preset": "ultrafast", "x265-params": parameters}
        )
        video.width, video.height, video.pix_fmt = pictures.width, pictures.height, "yuv420p"
        for frame in played.decode(pictures):
            # Which kind of picture it becomes is the new encoder's choice.
            frame.pict_type = PictureType.NONE
            made.mux(video.encode(frame))
        made.mux(video.encode(None))


def has_sei(codec: str, pictures: Sequence[Sequence[bytes]]) -> bool:
    """Whether any unit is supplemental enhancement information."""
    kinds = {6} if codec == "h264" else {39, 40}
    return any(
        (unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F) in kinds
        for picture in pictures
        for unit in picture
    )
