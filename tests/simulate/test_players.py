"""ffmpeg and GStreamer get exactly what is in the file, over and over."""

import hashlib
import subprocess
from pathlib import Path

import av
import pytest

from nvr.simulate.server import SimulatedCameras

from .conftest import SCENES
from .rtsp import Client

_TIMEOUT_S = 120
_PICTURES = 90
"""More than a whole repetition (60 pictures)."""


def decoded(path: Path) -> list[str]:
    """Digests of the decoded pictures."""
    with av.open(str(path)) as container:
        return [
            hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)
        ]


def sound(path: Path) -> list[bytes]:
    """The AAC frames at or after media time zero."""
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [bytes(packet) for packet in packets if packet.size and (packet.pts or 0) >= 0]


def is_played_in_turn(part: list[str] | list[bytes], whole: list[str] | list[bytes]) -> bool:
    """Whether ``part`` is a stretch of ``whole`` repeated without end."""
    count = len(whole)
    starts = [index for index in range(count) if whole[index] == part[0]]
    return any(
        all(item == whole[(start + index) % count] for index, item in enumerate(part)) for start in starts
    )


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


def format_of(name: str) -> str:
    return "h264" if SCENES[name].codec == "h264" else "hevc"


def leading(name: str) -> int:
    """Pictures in a row that a decoder may leave out after it joined an open GOP."""
    return SCENES[name].b_frames if SCENES[name].open_gop else 0


def check_pictures(name: str, got: list[str], files: dict[str, Path]) -> None:
    source = decoded(files[name])
    # Joined at a CRA picture, its leading pictures cannot be decoded: judged is what follows.
    skip = leading(name) + 1 if leading(name) else 0
    # Cut in decoding order, the end may lack B-frames that go before its last anchors.
    if SCENES[name].b_frames:
        got = got[: -SCENES[name].b_frames - 2]
    assert len(got) > len(source) + skip, "more than one repetition"
    assert is_played_in_turn(got[skip:], source)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("name", SCENES)
def test_ffmpeg_gets_the_pictures_of_the_file(
    name: str,
    transport: str,
    cameras: SimulatedCameras,
    files: dict[str, Path],
    ffmpeg: str,
    tmp_path: Path,
) -> None:
    kind = format_of(name)
    out = tmp_path / f"got.{kind}"
    run(
        *(ffmpeg, "-v", "error", "-rtsp_transport", transport, "-i", cameras.url(name)),
        *("-map", "0:v", "-c", "copy", "-frames:v", str(_PICTURES), "-f", kind, str(out)),
    )
    check_pictures(name, decoded(out), files)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_ffmpeg_gets_the_sound_of_the_file(
    transport: str, cameras: SimulatedCameras, files: dict[str, Path], ffmpeg: str, tmp_path: Path
) -> None:
    out = tmp_path / "got.mp4"
    run(
        *(ffmpeg, "-v", "error", "-rtsp_transport", transport, "-i", cameras.url("h264")),
        *("-map", "0:a", "-c", "copy", "-t", "6", str(out)),
    )
    got = sound(out)
    source = sound(files["h264"])
    assert len(got) > len(source), "more than one repetition"
    # 4 s are no whole number of frames: the one that would reach past the end is still whole.
    assert is_played_in_turn(got, source)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("name", SCENES)
def test_gstreamer_gets_the_pictures_of_the_file(
    name: str,
    protocol: str,
    cameras: SimulatedCameras,
    files: dict[str, Path],
    gst_launch: str,
    tmp_path: Path,
) -> None:
    codec = SCENES[name].codec
    out = tmp_path / f"got.{format_of(name)}"
    run(
        *(gst_launch, "-q", "rtspsrc", f"location={cameras.url(name)}", f"protocols={protocol}"),
        *("!", f"rtp{codec}depay", "!", f"video/x-{codec},stream-format=byte-stream,alignment=au"),
        *("!", "identity", f"eos-after={_PICTURES}", "!", "filesink", f"location={out}"),
    )
    check_pictures(name, decoded(out), files)


def test_gstreamer_gets_the_sound_of_the_file(
    cameras: SimulatedCameras, files: dict[str, Path], gst_launch: str, tmp_path: Path
) -> None:
    run(
        *(gst_launch, "-q", "rtspsrc", f"location={cameras.url('h264')}", "protocols=tcp"),
        *("!", "rtpmp4gdepay", "!", "identity", "eos-after=80"),
        *("!", "multifilesink", f"location={tmp_path}/%05d"),
    )
    got = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert len(got) > len(sound(files["h264"]))
    assert is_played_in_turn(got, sound(files["h264"]))


@pytest.mark.parametrize("name", SCENES)
def test_a_stream_without_a_container_plays_the_same(
    name: str, files: dict[str, Path], cameras: SimulatedCameras, ffmpeg: str, tmp_path: Path
) -> None:
    """Media taken from a raw byte stream and from MPEG-TS: the same NAL units on the wire."""
    codec = SCENES[name].codec
    stream = tmp_path / "copy.ts"
    run(ffmpeg, "-v", "error", "-i", str(files[name]), "-map", "0:v", "-c", "copy", str(stream))
    with SimulatedCameras() as server:
        server.add("copy", stream)
        received = []
        for served, path in ((server, "copy"), (cameras, name)):
            with Client(served.port) as client:
                client.play(served.url(path))
                units = client.access_units(codec)
                # Delimiters and SEI are the container's and the muxer's affair.
                received.append([tuple(picture_units(codec, next(units).nals)) for _ in range(70)])
    copy, original = received
    repeated = original[:60]
    assert is_played_in_turn([repr(unit) for unit in copy], [repr(unit) for unit in repeated])


def picture_units(codec: str, nals: list[bytes]) -> list[bytes]:
    if codec == "h264":
        return [nal for nal in nals if nal[0] & 0x1F in (1, 5)]
    return [nal for nal in nals if nal[0] >> 1 & 0x3F < 32]
