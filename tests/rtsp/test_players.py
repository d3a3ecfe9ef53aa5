"""ffmpeg and GStreamer play what a recorder has: live and recorded, over TCP and UDP."""

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from nvr.footage.types import TimeRange
from nvr.rtsp.address import format_clock
from nvr.simulate import timecode
from tests.rtsp.running import WAYS
from tests.rtsp.station import SCENES, SECOND, Station
from tests.simulate.rtsp import Client
from tests.simulate.test_players import decoded, is_played_in_turn, sound
from tests.support import gstreamer
from tests.support.skips import needs_program

_TIMEOUT_S = 120
_PICTURES = 40
# Its own limit for the first datagram is 5 s, which a busy machine may need for other things.
_PATIENT = "timeout=60000000"
TRANSPORTS = ("tcp", "udp")
PLAYS = [(name, transport, way) for name in SCENES for transport in TRANSPORTS for way in WAYS]

ffmpeg_is_there = needs_program("ffmpeg")
gstreamer_is_there = needs_program("gst-launch-1.0")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


def format_of(name: str) -> str:
    return "h264" if SCENES[name].codec == "h264" else "hevc"


def check_live(name: str, got: Path, station: Station) -> None:
    """The pictures of the file, again and again."""
    pictures = decoded(got)
    # Cut in decoding order, the end may lack B-frames that go before its last anchors.
    if SCENES[name].b_frames:
        pictures = pictures[: -SCENES[name].b_frames - 2]
    assert len(pictures) >= _PICTURES // 2
    assert is_played_in_turn(pictures, decoded(station.files[name]))


@ffmpeg_is_there
@pytest.mark.parametrize(("name", "transport", "way"), PLAYS)
def test_ffmpeg_plays_what_comes(
    name: str, transport: str, way: str, station: Station, tmp_path: Path
) -> None:
    kind = format_of(name)
    out = tmp_path / f"got.{kind}"
    run(
        *("ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", station.outs[way].url(name)),
        *("-map", "0:v", "-c", "copy", "-frames:v", str(_PICTURES), "-f", kind, str(out)),
    )
    check_live(name, out, station)


@gstreamer_is_there
@pytest.mark.parametrize(("name", "transport", "way"), PLAYS)
def test_gstreamer_plays_what_comes(
    name: str, transport: str, way: str, station: Station, tmp_path: Path
) -> None:
    codec = SCENES[name].codec
    out = tmp_path / f"got.{format_of(name)}"
    url = station.outs[way].url(name)
    gstreamer.play(
        *("rtspsrc", f"location={url}", f"protocols={transport}", _PATIENT),
        *("!", f"rtp{codec}depay", "!", f"video/x-{codec},stream-format=byte-stream,alignment=au"),
        *("!", "identity", f"eos-after={_PICTURES}", "!", "filesink", f"location={out}"),
    )
    check_live(name, out, station)


@ffmpeg_is_there
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_ffmpeg_plays_the_sound(transport: str, station: Station, tmp_path: Path) -> None:
    out = tmp_path / "got.mp4"
    run(
        *("ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", station.outs["local"].url("h264")),
        *("-map", "0:a", "-c", "copy", "-t", "3", str(out)),
    )
    got = sound(out)
    assert len(got) > 30
    assert is_played_in_turn(got, sound(station.files["h264"]))


def query(range_: TimeRange) -> str:
    return f"main?start={iso(range_.start_us)}&end={iso(range_.end_us)}"


def iso(at_us: int) -> str:
    text = format_clock(at_us)
    return f"{text[:4]}-{text[4:6]}-{text[6:11]}:{text[11:13]}:{text[13:]}"


def times_shown(path: Path) -> list[int | None]:
    """The media times in the pictures of a file."""
    with av.open(str(path)) as container:
        return [
            timecode.read(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            for frame in container.decode(video=0)
        ]


def wanted_times(name: str, range_: TimeRange, station: Station) -> list[int]:
    """The media times of the pictures that a range shows."""
    camera = next(camera for camera in station.cameras.cameras if camera.name == name)
    scene = SCENES[name]
    step_us = SECOND // scene.fps
    first, last = ((us - camera.zero_us) // step_us for us in (range_.start_us, range_.end_us - 1))
    count = scene.fps * scene.duration_s
    return [number % count * 1000 // scene.fps for number in range(first, last + 1)]


def middle(name: str, range_: TimeRange, station: Station) -> TimeRange:
    """A range like this one from and to the middle of pictures: no doubt which they are."""
    camera = next(camera for camera in station.cameras.cameras if camera.name == name)
    step_us = SECOND // SCENES[name].fps
    start, end = (
        us - (us - camera.zero_us) % step_us + step_us // 2
        for us in (range_.start_us, range_.end_us - step_us)
    )
    return TimeRange(start, end)


def check_replay(name: str, got: Path, range_: TimeRange, station: Station) -> None:
    """All pictures of the range, after what a decoder needs before the first."""
    wanted = wanted_times(name, range_, station)
    shown = times_shown(got)
    # Anchors that B-frames of the range refer to may be shown after its end.
    at = max(index for index in range(len(shown)) if shown[index : index + 1] == wanted[-1:])
    assert len(shown) - at <= SCENES[name].b_frames + 1
    assert shown[at + 1 - len(wanted) : at + 1] == wanted


@ffmpeg_is_there
@pytest.mark.parametrize(("name", "transport", "way"), PLAYS)
def test_ffmpeg_plays_what_was(name: str, transport: str, way: str, station: Station, tmp_path: Path) -> None:
    range_ = middle(name, station.recorded(name, 3 * SECOND), station)
    kind = format_of(name)
    out = tmp_path / f"got.{kind}"
    url = station.outs[way].url(name, query(range_))
    # It ends by itself, with the range.
    run(
        *("ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", url),
        *("-map", "0:v", "-c", "copy", "-f", kind, str(out)),
    )
    check_replay(name, out, range_, station)


@gstreamer_is_there
@pytest.mark.parametrize(("name", "transport"), [(name, way) for name in SCENES for way in TRANSPORTS])
def test_gstreamer_plays_what_was(name: str, transport: str, station: Station, tmp_path: Path) -> None:
    range_ = middle(name, station.recorded(name, 3 * SECOND), station)
    codec = SCENES[name].codec
    out = tmp_path / f"got.{format_of(name)}"
    url = station.outs["local"].url(name, query(range_))
    gstreamer.play(
        *("rtspsrc", f"location={url}", f"protocols={transport}", _PATIENT),
        *("!", f"rtp{codec}depay", "!", f"video/x-{codec},stream-format=byte-stream,alignment=au"),
        *("!", "filesink", f"location={out}"),
    )
    check_replay(name, out, range_, station)


@ffmpeg_is_there
def test_ffmpeg_plays_the_sound_that_was(station: Station, tmp_path: Path) -> None:
    range_ = station.recorded("h264", 3 * SECOND)
    out = tmp_path / "got.mp4"
    url = station.outs["remote"].url("h264", query(range_))
    run("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-map", "0:a", "-c", "copy", str(out))
    got = sound(out)
    assert len(got) > 30
    assert is_played_in_turn(got, sound(station.files["h264"]))


def test_many_viewers_are_one_session_at_the_camera(station: Station) -> None:
    before = station.cameras.stats()["sessions"]
    assert before == len(SCENES)
    clients = []
    try:
        for out in station.outs.values():
            for _ in range(10):
                client = Client(out.port)
                clients.append(client)
                client.play(out.url("h264"))
        for client in clients:
            assert next(client.access_units("h264")).nals
        assert sum(out.rtsp.sessions for out in station.outs.values()) == len(clients)
        assert station.cameras.stats()["sessions"] == before
        # Each server watches the source once; those of earlier tests may linger.
        assert all(source.watches <= len(SCENES) for source in station.watched.values())
    finally:
        for client in clients:
            client.socket.close()
