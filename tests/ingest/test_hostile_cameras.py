"""Cameras that send what no camera should: each is told apart, and the one beside it is recorded."""

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nvr._core import StreamStatus
from tests.ingest import pictures, scripted
from tests.ingest.conftest import Recorder
from tests.ingest.scripted import IDR, PPS, SLICE, SPS, Media, Rtp

FPS = 10


def steady(keyframes: int = FPS) -> Iterator[bytes]:
    """Pictures as they should be; every so many a keyframe, none for 0."""
    rtp, number = Rtp(), 0
    while True:
        keyframe = keyframes and number % keyframes == 0
        yield rtp.picture([SPS, PPS, IDR] if keyframe else [SLICE], number * 90_000 // FPS)
        number += 1
        time.sleep(1 / FPS)


def bits(*values: tuple[int, int] | int) -> bytes:
    """Numbers of so many bits, or alone as Exp-Golomb codes (H.264, 9.1); then the stop bit."""
    text = ""
    for value in values:
        if isinstance(value, tuple):
            text += f"{value[0]:0{value[1]}b}"
        else:
            code = f"{value + 1:b}"
            text += "0" * (len(code) - 1) + code
    text += "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def escaped(payload: bytes) -> bytes:
    """With emulation prevention bytes (H.264, 7.4.1)."""
    out = bytearray()
    for byte in payload:
        if out[-2:] == b"\x00\x00" and byte <= 3:
            out.append(3)
        out.append(byte)
    return bytes(out)


def sps_of(width: int, height: int, *, by_pixels: bool = False) -> bytes:
    """Of Baseline, whose pictures are cropped by two pixels; or of High 4:4:4 Predictive, by one."""
    across, down, unit = -(-width // 16), -(-height // 16), 1 if by_pixels else 2
    # Profile, constraints, level 6.2, id; 4:4:4 in one plane, 8 bits, no bypass, no matrices.
    head = ((244, 8), (0, 8), (62, 8), 0, 3, (0, 1), 0, 0, (0, 1), (0, 1))
    rbsp = bits(
        *(head if by_pixels else ((66, 8), (0xC0, 8), (62, 8), 0)),
        *(0, 2, 1, (0, 1)),  # frame numbers, order of pictures, one reference, no gaps
        *(across - 1, down - 1, (1, 1), (1, 1)),
        *((1, 1), 0, (across * 16 - width) // unit, 0, (down * 16 - height) // unit),
        (0, 1),
    )
    return b"\x67" + escaped(rbsp)


@contextmanager
def a_neighbour(recorder: Recorder) -> Iterator[str]:
    """A camera as it should be, which is recorded meanwhile without a gap."""
    camera_id = str(uuid.uuid4())
    with scripted.camera(scripted.sdp(SPS, PPS), steady) as address:
        recorder.ingest.add(camera_id, "main", address)
        yield camera_id

        def status() -> StreamStatus:
            return next(s for s in recorder.ingest.status() if s.camera_id == camera_id)

        deadline = time.monotonic() + 60
        while status().frames < 3 * FPS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (status().state, status().reconnects) == ("recording", {})
        recorder.stop()
    found = pictures.of_recording(recorder.root, camera_id, "h264")
    assert [t for t, _ in found] == [number * 90_000 // FPS for number in range(len(found))]
    assert len(found) >= 2 * FPS


def keyframes(sps: bytes) -> Media:
    def media() -> Iterator[bytes]:
        rtp, number = Rtp(), 0
        while True:
            yield rtp.picture([sps, PPS, IDR], number * 90_000 // FPS)
            number += 1
            time.sleep(1 / FPS)

    return media


@pytest.mark.parametrize(
    ("width", "height", "by_pixels"),
    [(65_520, 65_520, False), (65_534, 65_534, False), (65_535, 65_535, True)],
)
def test_an_sps_of_pictures_that_no_level_has(
    width: int, height: int, by_pixels: bool, recorder: Recorder
) -> None:
    with a_neighbour(recorder):
        sps = sps_of(width, height, by_pixels=by_pixels)
        with scripted.camera(scripted.sdp(sps, PPS), keyframes(sps)) as address:
            recorder.record(address)
            refused = recorder.wait_until("refused", lambda s: s.reason != "")
            assert refused.reason in {"codec_not_supported", "protocol_error", "silent"}
            assert refused.state != "recording"
            assert not recorder.segments()
        # It is the size that is refused: the same with another one is recorded.
        sps = sps_of(322, 182)
        with scripted.camera(scripted.sdp(sps, PPS), keyframes(sps)) as address:
            recorder.record(address)
            recorded = recorder.wait_until("recorded", lambda s: s.state == "recording")
            assert (recorded.width, recorded.height) == (322, 182)


def test_a_thousand_parameter_changes(recorder: Recorder) -> None:
    quiet = threading.Event()

    def changing() -> Iterator[bytes]:
        rtp, number = Rtp(), 0
        while True:
            # Another level each time, until the test has seen enough.
            changed = SPS[:3] + bytes([0x0B + (0 if quiet.is_set() else number % 2)]) + SPS[4:]
            yield rtp.picture([changed, PPS, IDR], number * 900)
            number += 1
            time.sleep(0.01)

    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), changing) as address:
        recorder.record(address)
        flooded = recorder.wait_until("1,000 changes", lambda s: s.frames >= 1000)
        assert (flooded.state, flooded.reason) == ("connecting", "parameter_flood")
        files = len(recorder.segments())
        assert files <= 20
        quiet.set()
        recorder.wait_until("peace", lambda s: s.state == "recording")
        recorder.wait_until("a second more", lambda s: s.frames >= flooded.frames + 200)
    gaps = gaps_of(recorder.root, recorder.camera_id)
    assert "parameter_flood" in gaps


def gaps_of(root: Path, camera_id: str) -> set[str]:
    """Why something of the camera's time was not recorded."""
    from nvr._core import Store

    store = Store([str(root)], read_only=True)
    try:
        return {gap.reason for gap in store.coverage(camera_id, "main", *pictures.ALL_TIME)[1]}
    finally:
        store.close()


def garbage() -> Iterator[bytes]:
    made = random.Random(1)
    while True:
        yield made.randbytes(10_000)


def garbage_in_packets() -> Iterator[bytes]:
    made, rtp = random.Random(2), Rtp()
    while True:
        # Types of NAL units that no packet has.
        yield rtp.packet(made.choice(b"\x00\x1e\x1f").to_bytes() + made.randbytes(50), 0, marker=True)


@pytest.mark.parametrize("media", [garbage, garbage_in_packets])
def test_garbage(media: Media, recorder: Recorder) -> None:
    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), media) as address:
        recorder.record(address)
        status = recorder.wait_until("the end of three sessions", lambda s: sum(s.reconnects.values()) >= 3)
        assert set(status.reconnects) <= {"protocol_error", "disconnected"}
        assert not recorder.segments()


def test_no_keyframe_ever(recorder: Recorder) -> None:
    with a_neighbour(recorder), scripted.camera(scripted.sdp(SPS, PPS), lambda: steady(0)) as address:
        recorder.record(address)
        status = recorder.wait_until("pictures", lambda s: s.frames >= 2 * FPS)
        assert (status.state, status.reason) == ("connecting", "no_keyframe")
        assert "no keyframe" in status.detail
        assert status.reconnects == {}
        assert not recorder.segments()
